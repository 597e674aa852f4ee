//! What the attributes accept, and what they say of what they don't.

/// Each file in `tests/ui` is compiled; what rustc says is beside it. `TRYBUILD=overwrite` writes it anew.
#[test]
fn mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass_*.rs");
    cases.compile_fail("ui/fail_*.rs");
}
