//! The house rules that a machine can check.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("below the root").to_owned()
}

fn sources(below: &str) -> Vec<(String, String)> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("the sources are there").flatten() {
            if entry.path().is_dir() {
                collect(&entry.path(), files);
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                files.push(entry.path());
            }
        }
    }
    let mut files = Vec::new();
    let below = root().join(below);
    if below.is_file() {
        files.push(below);
    } else {
        collect(&below, &mut files);
    }
    files.sort();
    let name =
        |file: &Path| file.strip_prefix(root()).expect("below the root").display().to_string();
    let read = |file: &PathBuf| std::fs::read_to_string(file).expect("a source is text");
    files.iter().map(|file| (name(file), read(file))).collect()
}

/// The lines of a source that are code, without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Test code beside the modules may do what it wants.
fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs") || file.contains("/simulation/")
}

fn assert_nothing(folder: &str, forbidden: &[&str]) {
    for (file, text) in sources(folder) {
        if is_test(&file) {
            continue;
        }
        for line in code(&text) {
            for word in forbidden {
                assert!(!line.contains(word), "{file} must not know `{word}`: {line}");
            }
        }
    }
}

#[test]
fn the_core_is_pure() {
    let impure = [
        "std::thread",
        "std::io",
        "std::fs",
        "std::net",
        "std::process",
        "Instant",
        "SystemTime",
        "Mutex",
        "Condvar",
        "crate::supervisor",
        "crate::process",
        "crate::transport",
        "crate::threads",
        "crate::worker",
        "crate::registry",
        "crate::codec",
        "crate::sys",
        "crate::task::cell",
        "crate::task::handle",
    ];
    assert_nothing("src/admission", &impure);
    assert_nothing("src/core", &impure);
    assert_nothing("src/background/machine.rs", &impure);
    assert_nothing("src/background/timing.rs", &impure);
}

#[test]
fn workers_know_nothing_of_the_coordinator() {
    assert_nothing("src/worker", &["crate::supervisor", "crate::core", "crate::admission"]);
}

#[test]
fn the_transport_decodes_nothing_of_the_users() {
    assert_nothing("src/transport", &["crate::supervisor", "crate::core", "crate::registry"]);
}

#[test]
fn only_the_codec_names_codecs() {
    for (file, text) in sources("src") {
        if file.starts_with("src/codec/") {
            continue;
        }
        for line in code(&text) {
            for name in ["postcard::", "bincode::", "serde_json::from", "serde_json::to"] {
                assert!(!line.contains(name), "{file} must leave `{name}` to codec/: {line}");
            }
        }
    }
}

/// A subscriber that panics would keep whatever logs from its end.
#[test]
fn the_library_logs_by_its_own_macro() {
    for (file, text) in sources("src") {
        if is_test(&file) || file == "src/say.rs" {
            continue;
        }
        for level in ["error", "warn", "info", "debug", "trace"] {
            let direct = format!("tracing::{level}!");
            assert!(!code(&text).any(|line| line.contains(&direct)), "{file}: use `say!`");
        }
    }
}

#[test]
fn unsafe_stands_only_where_it_may() {
    for (file, text) in sources("src").into_iter().chain(sources("macros/src")) {
        let may = file.starts_with("src/sys/") || file.starts_with("src/shm/");
        if is_test(&file) {
            continue;
        }
        let has = code(&text).any(|line| line.contains("unsafe {") || line.contains("unsafe impl"));
        assert!(may || !has, "{file} contains unsafe code");
    }
}

#[test]
fn files_stay_short() {
    for folder in ["src", "macros/src", "worker-bin/src", "cli/src", "tests", "benches"] {
        for (file, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= 500, "{file} has {lines} lines; one job a file, at most 500");
        }
    }
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    for document in ["README.md", "ARCHITECTURE.md", "STYLE.md", "CHANGELOG.md", "PYTHON.md"] {
        let text = std::fs::read_to_string(root().join(document)).expect("the document is there");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(root().join(path).exists(), "{document} links to {path}, which is not there");
        }
    }
}

#[test]
fn the_tests_that_show_what_python_has_are_there() {
    let text = std::fs::read_to_string(root().join("PYTHON.md")).expect("it is there");
    let mut named = 0;
    for row in text.lines().filter(|line| line.starts_with('|')) {
        let tests = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or("");
        for test in tests.split('`').skip(1).step_by(2) {
            let (module, name) = test.rsplit_once("::").expect("`file::test`");
            let file = root().join(format!("tests/it/{}.rs", module.replace("::", "/")));
            let source = std::fs::read_to_string(&file).unwrap_or_default();
            let there = source.contains(&format!("#[test]\nfn {name}()"));
            assert!(there, "PYTHON.md names {test}, which is not there");
            named += 1;
        }
    }
    assert!(named > 40, "only {named} tests are named");
}

/// Where the sources of a binary's tests stand, by the name that CATALOGUE.md has for it.
fn folder_of(binary: &str) -> &'static str {
    match binary {
        "it" => "tests/it",
        "atasker" => "src",
        "cli" => "cli/tests/it",
        "models" => "models/src",
        other => panic!("CATALOGUE.md names a test of `{other}`"),
    }
}

/// Whether there is a test of this path: as a function, or in the list from which a macro makes tests, one for each
/// transport.
fn is_there(test: &str) -> bool {
    let mut words: Vec<_> = test.split("::").collect();
    let (folder, name) = (folder_of(words.remove(0)), words.pop().unwrap_or(""));
    let transport = words.last().filter(|word| ["*", "over_ring", "over_channel"].contains(word));
    let transport = transport.copied();
    words.retain(|word| transport != Some(*word));
    let beside = words.join("/");
    let within = beside.strip_suffix("/tests").unwrap_or(&beside);
    let files = [&beside, within].map(|path| format!("{folder}/{path}"));
    let files = files.iter().flat_map(|path| [format!("{path}.rs"), format!("{path}/mod.rs")]);
    files.map(|file| std::fs::read_to_string(root().join(file)).unwrap_or_default()).any(|source| {
        let source: Vec<_> = source.split_whitespace().collect();
        let listed = |list: &str| list.split('}').next().is_some_and(|list| list.contains(name));
        let source = source.join(" ");
        match transport {
            None => source.split_once(&format!(" fn {name}(")).is_some_and(|(before, _)| {
                // Behind the end of what stands before it, among its other attributes.
                before.rsplit(['}', ';']).next().is_some_and(|own| own.contains("#[test]"))
            }),
            Some("over_ring") => source.split("on_rings {").skip(1).any(listed),
            _ => ["everywhere {", "on_every_transport! {"]
                .iter()
                .any(|list| source.split(list).skip(1).any(listed)),
        }
    })
}

#[test]
fn the_tests_of_the_catalogue_are_there() {
    let text = std::fs::read_to_string(root().join("tests/CATALOGUE.md")).expect("it is there");
    let mut cases = 0;
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case")) {
        let tests = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or("");
        let named: Vec<_> =
            tests.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
        assert!(!named.is_empty(), "no test of: {row}");
        for test in named {
            assert!(is_there(test), "CATALOGUE.md names {test}, which is not there");
        }
        cases += 1;
    }
    assert!(cases > 100, "only {cases} cases are named");
}

#[test]
fn the_architecture_names_every_module() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    for entry in std::fs::read_dir(root().join("src")).expect("the sources are there").flatten() {
        let name = entry.file_name().into_string().expect("a plain name");
        if entry.path().is_dir() {
            assert!(
                text.contains(&format!("`{name}/`")),
                "ARCHITECTURE.md does not name src/{name}"
            );
        }
    }
}
