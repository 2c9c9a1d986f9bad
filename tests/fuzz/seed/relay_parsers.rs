//! What a relay reads beside messages.

use medmesh_turn::codec::{Builder, Class, Method, attribute};

use crate::{join, write};

pub(crate) fn turn() {
    let message = |class, method| Builder::new(class, method, [1; 12]);
    let binding = message(Class::Request, Method::BINDING).finish();
    let channel = [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0];
    let cuts = [0, 3, 19, 1, 0, 7, 40, 2];
    write(
        "turn_stream",
        "both",
        join(&[&cuts, &binding, &channel, &binding]),
    );
    write("turn_stream", "bytewise", join(&[&[0; 8], &channel, &binding]));
    write(
        "turn_stream",
        "foreign",
        join(&[&cuts, &channel, b"GET / HTTP/1.1"]),
    );

    let secret = "0123456789abcdefghijklmnopqrstuvwxyz";
    for (name, text) in [
        ("secrets", format!("# May\n\n3 {secret}\n4\t{secret}\n")),
        ("twice", format!("3 {secret}\n3 {secret}\n")),
        (
            "peers",
            "# by hand\nallow 192.0.2.9:10000-10007  # edge fra-1\ndeny 192.0.2.1\nend\n".to_owned(),
        ),
        ("network", "10.0.0.0/8".to_owned()),
        ("ports", "[2001:db8::1]:4000-4001".to_owned()),
        ("username", "1800000000:a".to_owned()),
    ] {
        write("turn_text", name, text);
    }

    let answer = |code: u16| {
        message(Class::Error, Method::ALLOCATE)
            .error_code(code)
            .attribute(attribute::REALM, b"medmesh")
            .attribute(attribute::NONCE, b"0123456789abcdef")
            .finish()
    };
    let success = message(Class::Success, Method::ALLOCATE).finish();
    let conversation = |answers: &[Vec<u8>]| {
        let pieces = answers.iter().map(|answer| {
            let length = u8::try_from(answer.len()).expect("a short answer");
            [&[0, length], &answer[..]].concat()
        });
        pieces.collect::<Vec<_>>().concat()
    };
    write(
        "turn_probe",
        "stranger",
        conversation(&[answer(401), answer(401), answer(401)]),
    );
    write(
        "turn_probe",
        "stale",
        conversation(&[answer(401), answer(438), answer(438)]),
    );
    write("turn_probe", "full", conversation(&[answer(401), answer(508)]));
    write("turn_probe", "liar", conversation(&[answer(401), success]));
}
