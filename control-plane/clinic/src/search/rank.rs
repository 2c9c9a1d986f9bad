//! Who of the candidates was meant.

use super::words;

/// From here on a candidate is worth showing.
pub const RELEVANT: f64 = 0.72;
/// From here on a candidate is probably it: once there are enough of these, nobody looks further.
pub const GOOD: f64 = 0.86;

/// Of a word that is only begun, how much counts beside one that is complete.
const PREFIX_WORTH: f64 = 0.92;
/// What each word of the name that nobody asked for takes away, so that the plain match comes first.
const SURPLUS: f64 = 0.01;

/// How well a name matches the words of a query: 0 to 1. Longer words weigh more.
#[must_use]
pub fn score(query: &[String], display_name: &str) -> f64 {
    let name = words(display_name);
    if query.is_empty() || name.is_empty() {
        return 0.0;
    }
    let apart = aligned(query, &name);
    // One space too much or too little.
    let together = if query.len() == name.len() {
        0.0
    } else {
        similar(&query.concat(), &name.concat())
    };
    apart.max(together)
}

fn aligned(query: &[String], name: &[String]) -> f64 {
    let mut used = vec![false; name.len()];
    let (mut sum, mut weight) = (0.0, 0.0);
    for word in query {
        let best = name
            .iter()
            .enumerate()
            .filter(|(at, _)| !used[*at])
            .map(|(at, other)| (at, similar(word, other)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let letters = word.chars().count() as f64;
        weight += letters;
        if let Some((at, similarity)) = best {
            used[at] = true;
            sum += letters * similarity;
        }
    }
    let surplus = used.iter().filter(|used| !**used).count() as f64 * SURPLUS;
    (sum / weight - surplus).max(0.0)
}

/// How alike two words are. Edits count as Damerau and Levenshtein have it, the beginning a little
/// more than the rest, as Jaro and Winkler have it.
fn similar(typed: &str, real: &str) -> f64 {
    if typed == real {
        return 1.0;
    }
    let longest = typed.chars().count().max(real.chars().count()).max(1) as f64;
    let mut edits = strsim::osa_distance(typed, real) as f64;
    // Two letters in the wrong order are one slip of two letters.
    if edits <= 1.0 && typed.len() == real.len() && sorted(typed) == sorted(real) {
        edits = 0.5;
    }
    let by_edits = 1.0 - edits / longest;
    let by_start = strsim::jaro_winkler(typed, real);
    let by_prefix = if real.starts_with(typed) {
        PREFIX_WORTH
    } else {
        0.0
    };
    f64::midpoint(by_edits, by_start).max(by_prefix)
}

fn sorted(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}
