use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn rules_are_read_in_their_order_and_remarks_are_not() {
    let text = "# made by hand\n\nallow 192.0.2.9:10000-10007  # edge fra-1\n\tdeny\t192.0.2.1\nallow 2001:db8::/64\nend # all\n\n# bye\n";
    let rules = parse(text).unwrap();
    let shown = |rules: &[PeerRule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&rules.allow), ["192.0.2.9:10000-10007", "2001:db8::/64"]);
    assert_eq!(shown(&rules.deny), ["192.0.2.1"]);
    let own = ["198.51.100.1", "192.0.2.0/30"].map(|rule| rule.parse().unwrap());
    let mut policy = PeerPolicy::allow_list(own.into());
    assert!(policy.permits("192.0.2.1:7".parse().unwrap()));
    rules.add_to(&mut policy);
    assert!(
        !policy.permits("192.0.2.1:7".parse().unwrap()),
        "denied by the file"
    );
    assert!(policy.permits("198.51.100.1:7".parse().unwrap()));
    assert!(policy.permits("192.0.2.9:10003".parse().unwrap()));
    assert!(!policy.permits("192.0.2.9:10008".parse().unwrap()));
}

#[test]
fn errors_name_the_line() {
    for (text, expected) in [
        (
            "allow 192.0.2.9\npermit 192.0.2.8\nend\n",
            "line 2: \"permit\" is neither",
        ),
        ("allow\nend\n", "line 1: not `allow RULE`"),
        (
            "\nallow edge.example.net:10000\nend\n",
            "line 2: not an address, network or address:port-range: \"edge.example.net:10000\"",
        ),
        ("allow 192.0.2.9:9-2\nend\n", "line 1: not an address"),
        (
            "allow 192.0.2.9\nend\nallow 192.0.2.8\n",
            "line 3: line 2 said `end`",
        ),
        ("allow 192.0.2.9\nallow 192.0.2.", "line 2: not an address"),
        ("allow 192.0.2.9\nallow 192.0.2.7\n", "line 2: it stops here"),
        ("", "line 0: it stops here"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let many = "allow 192.0.2.9\n".repeat(RULES_MAX);
    assert_eq!(parse(&format!("{many}end\n")).unwrap().allow.len(), RULES_MAX);
    assert_eq!(
        parse(&format!("{many}deny 192.0.2.1\nend\n")),
        Err(Fault::TooMany)
    );
}

#[test]
fn half_a_file_is_none() {
    let text = "allow 192.0.2.9:10000-10007  # edge fra-1\ndeny 192.0.2.1\nend\n";
    for cut in 0..text.len() - 1 {
        assert_eq!(parse(&text[..cut]).is_ok(), text[..cut].ends_with("end"), "{cut}");
    }
}

#[test]
fn only_news_is_told_and_a_fault_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("turn.peers");
    assert!(matches!(
        PeersFile::open(&path),
        Err(PeersFileError::Unreadable(..))
    ));
    write(&path, "allow 192.0.2.9\nend\n");
    let (mut file, rules) = PeersFile::open(&path).unwrap();
    assert_eq!(rules.allow.len(), 1);
    assert_eq!(file.look().unwrap(), None);

    write(&path, "allow 192.0.2.9\nallow all\nend\n");
    let error = format!("{:#}", anyhow::Error::from(file.look().unwrap_err()));
    assert!(error.contains("turn.peers: line 2: not an address"), "{error}");
    assert_eq!(file.look().unwrap(), None, "told once");
    write(&path, "allow 192.0.2.9\nend\n");
    assert_eq!(file.look().unwrap(), None, "as it was before the fault");
    write(&path, "allow 192.0.2.9\nallow 192.0.2.8\nend\n");
    assert_eq!(file.look().unwrap().unwrap().allow.len(), 2);

    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let error = file.look().unwrap_err().to_string();
    assert!(error.ends_with("everybody may write it; chmod o-w it"), "{error}");
    let long = "# remark\n".repeat(200_000) + "end\n";
    write(&path, &long);
    assert!(matches!(file.look(), Err(PeersFileError::TooLong(_))));
}
