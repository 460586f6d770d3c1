use super::*;

#[test]
fn files_that_multiply_end() {
    // 2^30 tasks, if nothing stopped it.
    let mut all = vec![("site.yml".to_owned(), "- hosts: nodes\n  tasks: [{import_tasks: t0.yml}]\n".to_owned())];
    for n in 0..30 {
        let next = n + 1;
        all.push((format!("t{n}.yml"), format!("- import_tasks: t{next}.yml\n- import_tasks: t{next}.yml\n")));
    }
    all.push(("t30.yml".to_owned(), "- command: a\n".to_owned()));
    let all: Vec<(&str, &str)> = all.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let told = files(&all).expect_err("too many");
    assert!(told.contains("more than 100000 tasks"), "{told}");
}

#[test]
fn files_in_files_end() {
    let mut all = vec![("site.yml".to_owned(), "- hosts: nodes\n  tasks: [{import_tasks: t0.yml}]\n".to_owned())];
    for n in 0..100 {
        all.push((format!("t{n}.yml"), format!("- import_tasks: t{}.yml\n", n + 1)));
    }
    all.push(("t100.yml".to_owned(), "- command: a\n".to_owned()));
    let all: Vec<(&str, &str)> = all.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let told = files(&all).expect_err("too deep");
    assert!(told.contains("files within files"), "{told}");
}

#[test]
fn roles_that_need_each_other_are_told() {
    let told = files(&[
        ("site.yml", "- hosts: nodes\n  roles: [a]\n"),
        ("roles/a/meta/main.yml", "dependencies: [{role: b, x: 1}]\n"),
        ("roles/b/meta/main.yml", "dependencies: [{role: a, x: 1}]\n"),
    ])
    .expect_err("a circle");
    assert!(told.contains("a file that includes itself: DIR/roles/a → DIR/roles/b → DIR/roles/a"), "{told}");
}

#[test]
fn playbooks_with_windows_line_ends_and_bom() {
    let text = "\u{feff}- hosts: nodes\r\n  tasks:\r\n    - name: Größe\r\n      command: echo {{ x }}\r\n";
    let told = faults(text);
    assert!(told.contains("site.yml:4:24") && told.contains("undefined variable `x`"), "{told}");
}

#[test]
fn a_thousand_faults_are_cut() {
    let text = format!("- hosts: nodes\n  tasks:\n{}", "    - comand: a\n".repeat(1000));
    let told = faults(&text);
    assert!(told.contains("… and 800 more"), "{}", told.len());
}
