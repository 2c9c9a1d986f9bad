//! Names that nobody has, in the frequencies in which people have names.
//!
//! First names and common surnames are lists by rank, weighted as 1/(rank + c), as name
//! statistics of the United States, Spain and France roughly are; rare surnames, of which every
//! large clinic has tens of thousands, are put together from syllables.

use rand::Rng;
use rand::rngs::StdRng;

const FIRST: &str = "maria james john mary jose robert michael linda david william jennifer luis carlos juan anna \
richard joseph susan thomas patricia antonio marie pierre jean daniel matthew elizabeth barbara jessica sarah karen \
lisa nancy sandra ashley emily kimberly margaret donna michelle carol amanda melissa deborah stephanie rebecca laura \
sharon cynthia kathleen amy angela shirley brenda emma olivia sophia isabella camila valentina lucia martina elena \
paula sofia carmen rosa ana isabel pilar teresa dolores francisco javier manuel miguel alejandro fernando rafael \
diego sergio andres pablo jorge alberto ramon enrique vicente louis nicolas francois philippe alain bernard michel \
claude andre jacques henri julien mathieu camille chloe manon lea ines jade louise alice charles christopher mark \
donald steven paul andrew joshua kenneth kevin brian george edward ronald timothy jason jeffrey ryan jacob gary \
nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory frank alexander raymond patrick \
jack dennis jerry tyler aaron henry nathan peter zachary douglas kyle walter ethan jeremy harold keith christian \
roger noah gerald carl terry sean austin arthur lawrence jesse dylan bryan joe jordan billy bruce gabriel logan \
alan wayne roy ralph randy eugene vincent russell elijah bobby philip johnny siobhan aoife wei li ming yuki hiro \
fatima mohammed ahmed ali hassan yusuf amina leila omar ibrahim priya raj anil sunita dmitri olga ivan svetlana";

const LAST: &str = "smith garcia johnson rodriguez martinez williams brown jones hernandez lopez miller davis gonzalez \
perez martin sanchez wilson anderson thomas taylor moore jackson ramirez lee torres thompson white harris clark lewis \
robinson walker young allen king wright scott flores nguyen hill green adams nelson baker hall rivera campbell \
mitchell carter roberts gomez phillips evans turner diaz parker cruz edwards collins reyes stewart morris morales \
murphy cook rogers gutierrez ortiz morgan cooper peterson bailey reed kelly howard ramos kim cox ward richardson \
watson brooks chavez wood james bennett gray mendoza ruiz hughes price alvarez castillo sanders patel myers long ross \
foster jimenez powell jenkins perry russell sullivan bell coleman butler henderson barnes gonzales fisher vasquez \
simmons romero jordan patterson alexander hamilton graham reynolds griffin wallace moreno west cole hayes bryant \
herrera gibson ellis tran medina aguilar stevens murray ford castro marshall owens harrison fernandez mcdonald woods \
washington kennedy wells vargas henry chen freeman webb tucker guzman burns crawford olson simpson porter hunter \
gordon mendez silva shaw snyder mason dixon munoz hunt hicks holmes palmer wagner black robertson boyd rose stone \
salazar fox warren mills meyer rice schmidt garza daniels ferguson nichols stephens soto weaver ryan gardner payne \
grant dunn kelley spencer hawkins arnold pierce vazquez hansen peters santos hart bradley knight elliott cunningham \
duncan armstrong hudson carroll lane riley andrews alvarado ray delgado berry perkins hoffman johnston matthews pena \
richards contreras willis carpenter lawrence sandoval guerrero george chapman rios estrada ortega watkins greene \
nunez wheeler valdez harper burke larson santiago maldonado morrison franklin carlson austin dominguez carr lawson \
jacobs obrien lynch singh vega bishop montgomery oliver jensen harvey williamson gilbert dean sims espinoza howell li \
wong reid hanson le mccoy garrett burton fuller wang weber welch rojas lucas marquez fields park yang little banks \
padilla day walsh bowman schultz luna fowler mejia dubois durand leroy moreau laurent simon lefebvre michel bertrand \
roux vincent fournier morel girard bonnet dupont lambert fontaine rousseau blanc guerin boyer garnier chevalier";

const ONSETS: &str =
    "b br c ch d dr f fr g gr h j k kl kr l m n p pr qu r s sch sl st t tr v w z mac al el van";
const VOWELS: &str = "a e i o u ai au ea ei ie oo ou y";
const CODAS: &str =
    "l n r s t rt nd ng ck ll ss m x lt rg sky son ez ard eau ino ini oux berg mann stein wick";

/// Makes names.
pub(super) struct Names {
    first: Weighted,
    last: Weighted,
    onsets: Vec<&'static str>,
    vowels: Vec<&'static str>,
    codas: Vec<&'static str>,
}

/// Words by rank.
struct Weighted {
    words: Vec<&'static str>,
    sums: Vec<f64>,
}

impl Weighted {
    fn new(list: &'static str) -> Self {
        let words: Vec<&'static str> = list.split_whitespace().collect();
        let mut sum = 0.0;
        let sums = (0..words.len()).map(|rank| {
            sum += 1.0 / (rank as f64 + 10.0);
            sum
        });
        Self {
            sums: sums.collect(),
            words,
        }
    }

    fn pick(&self, random: &mut StdRng) -> &'static str {
        let all = *self.sums.last().expect("there are words");
        let at = random.random_range(0.0..all);
        self.words[self
            .sums
            .partition_point(|sum| *sum <= at)
            .min(self.words.len() - 1)]
    }
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            first: Weighted::new(FIRST),
            last: Weighted::new(LAST),
            onsets: ONSETS.split_whitespace().collect(),
            vowels: VOWELS.split_whitespace().collect(),
            codas: CODAS.split_whitespace().collect(),
        }
    }

    /// One in three surnames is rare; one person in eight has two given names, one in five two surnames.
    pub(super) fn make(&self, random: &mut StdRng) -> String {
        let mut name = capital(self.first.pick(random));
        if random.random_ratio(1, 8) {
            name = format!("{name} {}", capital(self.first.pick(random)));
        }
        name = format!("{name} {}", capital(&self.surname(random)));
        if random.random_ratio(1, 5) {
            name = format!("{name} {}", capital(&self.surname(random)));
        }
        name
    }

    fn surname(&self, random: &mut StdRng) -> String {
        if random.random_ratio(2, 3) {
            return self.last.pick(random).to_owned();
        }
        let syllables = random.random_range(2..=3);
        let mut name: String = (0..syllables)
            .map(|_| format!("{}{}", one(&self.onsets, random), one(&self.vowels, random)))
            .collect();
        name.push_str(one(&self.codas, random));
        name
    }
}

fn one(words: &[&'static str], random: &mut StdRng) -> &'static str {
    words[random.random_range(0..words.len())]
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
        .unwrap_or_default()
}

/// The name with one slip: a letter changed, left out or doubled, or two neighbours swapped.
pub(super) fn slip(name: &str, random: &mut StdRng) -> String {
    let mut letters: Vec<char> = name.to_lowercase().chars().collect();
    // Inside of words of four letters and more: whoever mistypes "Li" means somebody else.
    let inside: Vec<usize> = (1..letters.len())
        .filter(|at| letters[*at] != ' ' && letters[*at - 1] != ' ' && word_at(&letters, *at) >= 4)
        .collect();
    if inside.is_empty() {
        return name.to_lowercase();
    }
    let at = inside[random.random_range(0..inside.len())];
    match random.random_range(0..4) {
        0 => letters[at] = char::from(b'a' + random.random_range(0..26)),
        1 => drop(letters.remove(at)),
        2 => letters.insert(at, char::from(b'a' + random.random_range(0..26))),
        _ => letters.swap(at - 1, at),
    }
    letters.into_iter().collect()
}

fn word_at(letters: &[char], at: usize) -> usize {
    let before = letters[..at].iter().rev().take_while(|c| **c != ' ').count();
    before + letters[at..].iter().take_while(|c| **c != ' ').count()
}
