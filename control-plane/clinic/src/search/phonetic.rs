//! How a name sounds, roughly alike to English, Spanish and French ears.
//!
//! Not a linguist's transcription: two spellings of one name should meet, and few
//! different names should. What is written differently for the same sound in these
//! languages becomes one letter, vowels after the first go.

/// Longest code: after that names differ in their endings, which people get wrong.
const CODE_LETTERS_MAX: usize = 6;

/// Spellings of one sound, longest first; applied from left to right.
const SPELLINGS: [(&str, &str); 34] = [
    ("eaux", "o"),
    ("tsch", "x"),
    ("eau", "o"),
    ("sch", "x"),
    ("ght", "t"),
    ("tch", "x"),
    ("que", "k"),
    ("qui", "ki"),
    ("gue", "ge"),
    ("gui", "gi"),
    ("ph", "b"),
    ("sh", "x"),
    ("ch", "x"),
    ("cz", "x"),
    ("th", "t"),
    ("ck", "k"),
    ("qu", "k"),
    ("gh", "g"),
    ("gn", "n"),
    ("kn", "n"),
    ("wr", "r"),
    ("ps", "s"),
    ("pt", "t"),
    ("ce", "se"),
    ("ci", "si"),
    ("cy", "si"),
    ("ge", "je"),
    ("gi", "ji"),
    ("gy", "ji"),
    ("sz", "s"),
    ("ts", "s"),
    ("tz", "s"),
    ("dt", "t"),
    ("nd", "n"),
];

/// The code of a folded word; a word without Latin letters is its own code.
#[must_use]
pub fn sound(word: &str) -> String {
    if !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return word.to_owned();
    }
    let mut letters = Vec::with_capacity(word.len());
    let mut rest = word;
    // A silent first letter, and Spanish X and J as in Ximena and Jimena.
    if let Some(after) = rest.strip_prefix('x').or_else(|| rest.strip_prefix("gi")) {
        letters.push('j');
        rest = after;
    }
    while let Some(first) = rest.chars().next() {
        let spelling = SPELLINGS.iter().find(|(from, _)| rest.starts_with(from));
        if let Some((from, to)) = spelling {
            letters.extend(to.chars());
            rest = &rest[from.len()..];
            continue;
        }
        letters.push(letter(first));
        rest = &rest[1..];
    }
    code(&letters)
}

const fn letter(letter: char) -> char {
    match letter {
        'c' | 'q' => 'k',
        'z' | 'x' => 's',
        'v' | 'w' | 'f' => 'b',
        'y' => 'i',
        'h' => '-',
        other => other,
    }
}

fn code(letters: &[char]) -> String {
    let mut out: Vec<char> = Vec::with_capacity(CODE_LETTERS_MAX);
    let mut before = '-';
    for letter in letters.iter().copied().filter(|letter| *letter != '-') {
        let is_vowel = matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u');
        let letter = if is_vowel { 'a' } else { letter };
        if letter != before && (!is_vowel || out.is_empty()) {
            out.push(letter);
        }
        before = letter;
    }
    // Silent at the end in French, weak in Spanish.
    if out.len() > 2 && matches!(out.last(), Some('s' | 't' | 'd')) {
        out.pop();
    }
    out.truncate(CODE_LETTERS_MAX);
    out.into_iter().collect()
}
