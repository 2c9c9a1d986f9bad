//! Finding people by what somebody remembers of their name.
//!
//! What is kept beside a person is a set of [`Term`]s, which the store turns into
//! keyed tokens: it never sees a name, and a token says nothing without the key.
//! A query makes terms the same way; who shares enough of them is a candidate, is
//! opened, and is ranked here on the real name.
//!
//! Terms of a word are the word with up to one letter left out (whoever writes
//! one letter wrong, too much, too little, or two in the wrong order shares one of
//! them: the symmetric deletion of Garbe's SymSpell), its sound, and its trigrams
//! for words that are only begun.

mod phonetic;
mod rank;
#[cfg(test)]
mod tests;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

pub use phonetic::sound;
pub use rank::{GOOD, RELEVANT, score};

/// Most words of a name or a query that count; longer names exist, and are found by these.
pub const WORDS_MAX: usize = 6;
/// Most letters of a word that count: bounds the terms of a word.
const LETTERS_MAX: usize = 24;
/// Longest query in characters.
pub const QUERY_CHARS_MAX: usize = 120;
/// Fewest letters of a word whose deletions are terms: of shorter ones hardly anything is left.
const DELETION_LETTERS_MIN: usize = 3;

/// A property of a name that a query can share. The kinds keep apart what is equal by accident.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Which kind.
    pub kind: TermKind,
    /// What is shared. Health data: it goes into a keyed digest and nowhere else.
    pub text: String,
}

/// What a term is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TermKind {
    /// A whole word, or two neighbours written as one.
    Word,
    /// A word with at most one letter left out.
    Near,
    /// How a word sounds.
    Sound,
    /// Three letters in a row; the beginning counts as a letter.
    Trigram,
    /// A whole mail address.
    Email,
}

impl TermKind {
    /// The byte before the text in a token's digest.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Word => b'w',
            Self::Near => b'n',
            Self::Sound => b's',
            Self::Trigram => b't',
            Self::Email => b'e',
        }
    }
}

/// The words of a text, folded: lower case, no accents, letters and digits only.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let folded: String = text
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .flat_map(|c| fold(c).chars().collect::<Vec<_>>())
        .collect();
    folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(LETTERS_MAX).collect())
        .take(WORDS_MAX)
        .collect()
}

/// Letters that decompose into nothing, and marks inside of words that are not written everywhere.
fn fold(c: char) -> String {
    match c {
        'ß' => "ss".into(),
        'æ' => "ae".into(),
        'œ' => "oe".into(),
        'ø' => "o".into(),
        'ł' => "l".into(),
        'đ' | 'ð' => "d".into(),
        'þ' => "th".into(),
        'ı' => "i".into(),
        '\'' | '’' | '`' => String::new(),
        other => other.into(),
    }
}

fn term(kind: TermKind, text: impl Into<String>) -> Term {
    Term {
        kind,
        text: text.into(),
    }
}

/// The word and what is left of it without each of its letters.
fn near(word: &str) -> Vec<Term> {
    let letters: Vec<char> = word.chars().collect();
    let mut terms = vec![term(TermKind::Near, word)];
    match letters.len() {
        // Two letters in the wrong order.
        2 => terms.push(term(TermKind::Near, letters.iter().rev().collect::<String>())),
        DELETION_LETTERS_MIN.. => {
            for left_out in 0..letters.len() {
                let rest = letters.iter().enumerate().filter(|(at, _)| *at != left_out);
                terms.push(term(
                    TermKind::Near,
                    rest.map(|(_, letter)| *letter).collect::<String>(),
                ));
            }
        }
        _ => {}
    }
    terms.sort_unstable();
    terms.dedup();
    terms
}

fn trigrams(word: &str) -> Vec<Term> {
    let letters: Vec<char> = std::iter::once('^').chain(word.chars()).collect();
    let runs = letters
        .windows(3)
        .map(|run| term(TermKind::Trigram, run.iter().collect::<String>()));
    runs.collect()
}

/// Everything a person can be found by.
#[must_use]
pub fn terms_of(display_name: &str, email: &str) -> Vec<Term> {
    let words = words(display_name);
    let mut terms = vec![term(TermKind::Email, email.to_lowercase())];
    for word in &words {
        terms.push(term(TermKind::Word, word));
        terms.extend(near(word));
        terms.extend(trigrams(word));
        terms.push(term(TermKind::Sound, sound(word)));
    }
    for pair in words.windows(2) {
        terms.push(term(TermKind::Word, pair.concat()));
    }
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// What a candidate must share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// At least one of these.
    Any(Vec<Term>),
    /// Every one of these; never none.
    All(Vec<Term>),
}

impl Group {
    /// Its terms.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        match self {
            Self::Any(terms) | Self::All(terms) => terms,
        }
    }
}

/// One way to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// A candidate meets every group of one of these. Groups that are met together are in one
    /// alternative, so that an index reads no more of a common word than its rare neighbour asks for.
    pub alternatives: Vec<Vec<Group>>,
    /// Whether it takes the words as they were typed. Who is found like that may not be who was
    /// meant, so that one of them is not enough.
    pub is_literal: bool,
}

/// A query, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its words, for ranking; empty for an address.
    pub words: Vec<String>,
    /// The ways to look, narrow ones first, to be taken until somebody is found.
    pub ways: Vec<Way>,
}

impl Query {
    /// Understands what somebody typed. `None` when there is no letter in it, or too much.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.chars().count() > QUERY_CHARS_MAX {
            return None;
        }
        if text.contains('@') {
            let address = term(TermKind::Email, text.to_lowercase());
            return Some(Self {
                words: Vec::new(),
                ways: vec![literal(vec![Group::Any(vec![address])])],
            });
        }
        let words = words(text);
        if words.is_empty() {
            return None;
        }
        let mut ways = vec![literal(each(&words, exact)), one_slip(&words)];
        if words.len() > 1 {
            ways.push(one_space_too_much(&words));
            ways.push(wide([each(&words, nearly)]));
        }
        ways.push(wide([each(&words, alike)]));
        ways.extend(begun(&words));
        if words.len() > 1 {
            // Each by itself, so that the rare one of them is not lost among bearers of the common one.
            ways.push(wide(words.iter().map(|word| vec![nearly(word)])));
        }
        Some(Self { words, ways })
    }
}

/// One word is nearly right, the others are right: hardly ever more than a few people, whatever the
/// words. Most of what is typed wrong is found here.
fn one_slip(words: &[String]) -> Way {
    wide((0..words.len()).map(|wrong| {
        let groups = words.iter().enumerate();
        groups
            .map(|(at, word)| if at == wrong { nearly(word) } else { exact(word) })
            .collect()
    }))
}

/// Neighbours that are one word.
fn one_space_too_much(words: &[String]) -> Way {
    wide((1..words.len()).map(|at| {
        let mut joined = words.to_vec();
        let tail = joined.remove(at);
        joined[at - 1].push_str(&tail);
        each(&joined, nearly)
    }))
}

/// The last word is only begun, or all of them are.
fn begun(words: &[String]) -> Option<Way> {
    let (last, others) = words.split_last()?;
    let beginning = |word: &String| Some(trigrams(word)).filter(|terms| !terms.is_empty());
    let mut alternatives = Vec::new();
    if let Some(terms) = beginning(last) {
        alternatives.push([each(others, nearly), vec![Group::All(terms)]].concat());
    }
    if !others.is_empty()
        && let Some(terms) = words.iter().map(beginning).collect::<Option<Vec<_>>>()
    {
        alternatives.push(vec![Group::All(terms.concat())]);
    }
    (!alternatives.is_empty()).then(|| wide(alternatives))
}

fn literal(groups: Vec<Group>) -> Way {
    Way {
        alternatives: vec![groups],
        is_literal: true,
    }
}

fn wide(alternatives: impl IntoIterator<Item = Vec<Group>>) -> Way {
    Way {
        alternatives: alternatives.into_iter().collect(),
        is_literal: false,
    }
}

fn each(words: &[String], group: impl Fn(&str) -> Group) -> Vec<Group> {
    words.iter().map(|word| group(word)).collect()
}

fn exact(word: &str) -> Group {
    Group::Any(vec![term(TermKind::Word, word)])
}

fn nearly(word: &str) -> Group {
    Group::Any(near(word))
}

/// Nearly written alike, or sounding alike.
fn alike(word: &str) -> Group {
    let mut terms = near(word);
    terms.push(term(TermKind::Sound, sound(word)));
    // What neighbours written as one look like from here.
    terms.push(term(TermKind::Word, word));
    Group::Any(terms)
}
