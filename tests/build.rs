//! Compiles what misbehaves in C.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=programs/misdeeds.c");
    println!("cargo::rerun-if-changed=programs/wild_clock.c");
    let mut build = cc::Build::new();
    build.file("programs/misdeeds.c").opt_level(0).flag_if_supported("-fstack-protector-all");
    // Undefined behaviour is what it is there for.
    build.warnings(false).compile("misdeeds");

    let folder = std::env::var("OUT_DIR").expect("cargo sets it");
    let library = Path::new(&folder).join("libwild_clock.so");
    let mut compiler = cc::Build::new().pic(true).get_compiler().to_command();
    let compiler = compiler.args(["-shared", "programs/wild_clock.c", "-o"]).arg(&library);
    assert!(compiler.status().expect("there is a C compiler").success(), "{compiler:?}");
    println!("cargo::rustc-env=ATASKER_TEST_WILD_CLOCK_LIBRARY={}", library.display());
}
