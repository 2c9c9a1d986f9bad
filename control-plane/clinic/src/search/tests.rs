use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn words_are_folded() {
    assert_eq!(
        words("  José Ángel O’Brien-Núñez "),
        ["jose", "angel", "obrien", "nunez"]
    );
    assert_eq!(words("Weiß Łukasz Bjørn"), ["weiss", "lukasz", "bjorn"]);
    assert_eq!(words("李 小龙"), ["李", "小龙"]);
    assert!(words("… ,").is_empty());
    assert_eq!(words("a b c d e f g h").len(), WORDS_MAX);
}

#[test]
fn spellings_of_one_name_sound_alike() {
    for (one, other) in [
        ("smith", "smyth"),
        ("stephen", "steven"),
        ("catherine", "katherine"),
        ("katherine", "cathryn"),
        ("gonzalez", "gonsales"),
        ("gonzales", "gonzalez"),
        ("jimenez", "ximenez"),
        ("jimenez", "gimenez"),
        ("philippe", "filip"),
        ("thibault", "tibault"),
        ("knight", "night"),
        ("dupond", "dupont"),
        ("renaud", "renaut"),
        ("schmidt", "schmit"),
        ("vasquez", "bazquez"),
        ("hernandez", "ernandez"),
        ("wright", "right"),
        ("yvette", "ivette"),
    ] {
        assert_eq!(sound(one), sound(other), "{one} and {other}");
    }
    for (one, other) in [
        ("garcia", "martin"),
        ("smith", "schmitz"),
        ("lopez", "perez"),
        ("anna", "jean"),
    ] {
        assert_ne!(sound(one), sound(other), "{one} and {other}");
    }
}

/// As the store does it, on terms instead of tokens.
fn finds(query: &str, name: &str) -> bool {
    finds_by(&Query::parse(query).unwrap(), name)
}

fn finds_by(query: &Query, name: &str) -> bool {
    let has: BTreeSet<Term> = terms_of(name, "someone@example.test").into_iter().collect();
    let meets = |group: &Group| match group {
        Group::Any(terms) => terms.iter().any(|term| has.contains(term)),
        Group::All(terms) => terms.iter().all(|term| has.contains(term)),
    };
    let mut alternatives = query.ways.iter().flat_map(|way| &way.alternatives);
    let found = alternatives.any(|groups| groups.iter().all(meets));
    found && score(&query.words, name) >= RELEVANT
}

#[test]
fn one_slip_finds_the_name() {
    let name = "María Fernández López";
    for query in [
        "maria fernandez lopez",
        "maria fernandez",
        "fernandez maria",
        "lopez",
        "fernnadez",
        "fernandes maria",
        "mariafernandez lopez",
        "maria fer nandez",
        "maira fernandez",
        "fernand",
        "mara lopez",
    ] {
        assert!(finds(query, name), "{query}");
    }
    for query in ["garcia", "peter smith", "xyz"] {
        assert!(!finds(query, name), "{query}");
    }
    assert!(finds("il wei", "Li Wei"));
}

#[test]
fn the_closest_name_ranks_first() {
    let query = words("jon smith");
    let names = [
        "Joan Smithson",
        "John Smith",
        "Jon Smith",
        "Jon Smith Baker",
        "Jim Smart",
    ];
    let mut ranked = names.map(|name| (score(&query, name), name));
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    assert_eq!(
        ranked.map(|(_, name)| name)[..3],
        ["Jon Smith", "Jon Smith Baker", "John Smith"]
    );
    assert_eq!(score(&query, ""), 0.0);
}

#[test]
fn an_address_is_found_whole_or_not_at_all() {
    let has = terms_of("Somebody", "some.body@example.test");
    let query = Query::parse(" Some.Body@example.test ").unwrap();
    assert!(has.contains(&query.ways[0].alternatives[0][0].terms()[0]));
    assert!(query.words.is_empty());
}

#[test]
fn what_holds_no_letter_is_no_query() {
    assert_eq!(Query::parse("  …"), None);
    assert_eq!(Query::parse(&"a".repeat(QUERY_CHARS_MAX + 1)), None);
}

/// What one way asks of an index is bounded by the length of the query, and never everybody.
#[test]
fn no_way_is_open_to_everybody() {
    let six = "a bc def ghij klmno pqrstu";
    for text in [six, "a", "li wei", "maria garcia lopez", "李 小龙"] {
        let query = Query::parse(text).unwrap();
        assert!(query.ways[0].is_literal && !query.ways[1].is_literal, "{text}");
        for way in &query.ways {
            assert!(
                !way.alternatives.is_empty() && way.alternatives.len() <= WORDS_MAX,
                "{text}"
            );
            for groups in &way.alternatives {
                assert!(!groups.is_empty(), "{text}");
                assert!(groups.iter().all(|group| !group.terms().is_empty()), "{text}");
            }
        }
    }
}

/// One slip is found by the second way already: the wide ones need not be asked.
#[test]
fn one_slip_is_found_by_a_narrow_way() {
    for (typed, name) in [
        ("maria gacria", "Maria Garcia"),
        ("jhon smith", "John Smith"),
        ("li wie", "Li Wei"),
        ("mria del carmen lopez", "Maria del Carmen Lopez"),
    ] {
        let mut query = Query::parse(typed).unwrap();
        query.ways.truncate(2);
        assert!(finds_by(&query, name), "{typed}");
        query.ways.truncate(1);
        assert!(!finds_by(&query, name), "{typed}");
    }
}

proptest! {
    /// Whatever single letter is wrong, missing, too much, or swapped with its neighbour.
    #[test]
    fn one_edit_of_any_kind_leaves_a_common_term(
        word in "[a-z]{3,12}", at in any::<usize>(), letter in "[a-z]", kind in 0..4_u8,
    ) {
        let mut letters: Vec<char> = word.chars().collect();
        let at = at % letters.len();
        let letter = letter.chars().next().unwrap();
        match kind {
            0 => letters[at] = letter,
            1 => { letters.remove(at); }
            2 => letters.insert(at, letter),
            _ => letters.swap(at, (at + 1).min(word.len() - 1)),
        }
        let edited: String = letters.iter().collect();
        prop_assume!(strsim::osa_distance(&word, &edited) <= 1);
        let (a, b): (BTreeSet<_>, BTreeSet<_>) = (near(&word).into_iter().collect(), near(&edited).into_iter().collect());
        prop_assert!(a.intersection(&b).next().is_some(), "{word} {edited}");
    }

    #[test]
    fn any_text_is_bounded(text in any::<String>()) {
        let terms = terms_of(&text, "x@y");
        prop_assert!(terms.len() <= WORDS_MAX * (3 * LETTERS_MAX + 6) + 1);
        let _ = Query::parse(&text);
        prop_assert!((0.0..=1.0).contains(&score(&words(&text), &text)));
    }
}
