//! The tidy check over the repository as it is. What each rule means, and that it can fail, is tested beside the rules in
//! `src/tidy/`.

use std::fs;

use runlet_tests::tidy::{self, Ratchet, Repository};

#[test]
fn the_repository_is_tidy() {
    let repository = Repository::load().expect("git and cargo can be asked about the repository");
    assert!(repository.rust_files().len() > 50, "the list of files is not that of the whole repository");
    assert!(repository.packages.len() >= 10, "the list of packages is not that of the whole workspace");
    assert!(repository.kernel_tree.len() >= 3, "the kernel's dependency tree was not read");

    let allow = fs::read_to_string(tidy::repository::root().join(tidy::allow::ALLOW_FILE)).expect("the allow file");
    let findings = Ratchet::parse(&allow).apply(tidy::check(&repository));
    let lines: String = findings.iter().map(|finding| format!("  {finding}\n")).collect();
    assert!(findings.is_empty(), "{} findings:\n{lines}", findings.len());
}
