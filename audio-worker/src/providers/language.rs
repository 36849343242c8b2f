//! Languages: the codes of two letters that books and servers use, the names that some servers answer with, and whether a text is in
//! the language that was asked for.

use whatlang::Lang;

/// Shortest text whose language is judged, in letters. Names and calls of a few words are in no language.
const MIN_LETTERS: usize = 60;

/// Codes of two letters with the language's English name and the language of the detector.
const LANGUAGES: [(&str, &str, Lang); 36] = [
    ("ar", "arabic", Lang::Ara),
    ("bg", "bulgarian", Lang::Bul),
    ("ca", "catalan", Lang::Cat),
    ("cs", "czech", Lang::Ces),
    ("da", "danish", Lang::Dan),
    ("de", "german", Lang::Deu),
    ("el", "greek", Lang::Ell),
    ("en", "english", Lang::Eng),
    ("es", "spanish", Lang::Spa),
    ("et", "estonian", Lang::Est),
    ("fi", "finnish", Lang::Fin),
    ("fr", "french", Lang::Fra),
    ("he", "hebrew", Lang::Heb),
    ("hi", "hindi", Lang::Hin),
    ("hr", "croatian", Lang::Hrv),
    ("hu", "hungarian", Lang::Hun),
    ("id", "indonesian", Lang::Ind),
    ("it", "italian", Lang::Ita),
    ("ja", "japanese", Lang::Jpn),
    ("ko", "korean", Lang::Kor),
    ("lt", "lithuanian", Lang::Lit),
    ("lv", "latvian", Lang::Lav),
    ("nl", "dutch", Lang::Nld),
    ("no", "norwegian", Lang::Nob),
    ("pl", "polish", Lang::Pol),
    ("pt", "portuguese", Lang::Por),
    ("ro", "romanian", Lang::Ron),
    ("ru", "russian", Lang::Rus),
    ("sk", "slovak", Lang::Slk),
    ("sl", "slovenian", Lang::Slv),
    ("sr", "serbian", Lang::Srp),
    ("sv", "swedish", Lang::Swe),
    ("tr", "turkish", Lang::Tur),
    ("uk", "ukrainian", Lang::Ukr),
    ("vi", "vietnamese", Lang::Vie),
    ("zh", "chinese", Lang::Cmn),
];

/// Languages that are written so alike that the detector confuses them.
const ALIKE: [&[Lang]; 4] = [
    &[Lang::Dan, Lang::Nob, Lang::Swe],
    &[Lang::Hrv, Lang::Srp, Lang::Slv],
    &[Lang::Ces, Lang::Slk],
    &[Lang::Spa, Lang::Cat, Lang::Por],
];

/// The code of two letters: of `en`, `en-GB`, `eng` or `English`. `None` for a language that is not in the table.
pub(super) fn code_of(text: &str) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    let first = text.split(['-', '_']).next().unwrap_or_default();
    let known = LANGUAGES.iter().find(|(code, name, lang)| *code == first || *name == text || lang.code() == first);
    known.map(|(code, _, _)| *code)
}

/// The code that an engine is told. Engines know more languages than are in the table.
pub(super) fn told(text: &str) -> Option<String> {
    let first = text.trim().split(['-', '_']).next().unwrap_or_default();
    let is_code = matches!(first.len(), 2 | 3) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    code_of(text).map(str::to_owned).or_else(|| is_code.then(|| first.to_ascii_lowercase()))
}

/// The English name of a language, for instructions to a model.
pub(super) fn name_of(code: &str) -> Option<&'static str> {
    let code = code_of(code)?;
    LANGUAGES.iter().find(|(known, _, _)| *known == code).map(|(_, name, _)| *name)
}

/// The code of a text's language, if it is certain.
pub(super) fn of_text(text: &str) -> Option<&'static str> {
    let found = whatlang::detect(text).filter(whatlang::Info::is_reliable)?;
    LANGUAGES.iter().find(|(_, _, lang)| *lang == found.lang()).map(|(code, _, _)| *code)
}

/// Whether a text is certainly in another language than `expected`, a code.
pub(super) fn is_other(text: &str, expected: &str) -> bool {
    let Some(code) = code_of(expected) else { return false };
    let Some((_, _, wanted)) = LANGUAGES.iter().find(|(known, _, _)| *known == code) else { return false };
    // Ideographs carry more than letters.
    let letters: usize = text.chars().filter(|letter| letter.is_alphabetic()).map(char::len_utf8).sum();
    if letters < MIN_LETTERS {
        return false;
    }
    let Some(found) = whatlang::detect(text) else { return false };
    let is_alike = ALIKE.iter().any(|group| group.contains(wanted) && group.contains(&found.lang()));
    found.lang() != *wanted && !is_alike && found.is_reliable()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "The family of Dashwood had long been settled in Sussex. Their estate was large, and their residence was at \
        Norland Park, in the centre of their property, where, for many generations, they had lived in so respectable a manner as to \
        engage the general good opinion of their surrounding acquaintance.";
    const GERMAN: &str = "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem Bett zu einem \
        ungeheueren Ungeziefer verwandelt. Er lag auf seinem panzerartig harten Rücken und sah, wenn er den Kopf ein wenig hob, seinen \
        gewölbten, braunen, von bogenförmigen Versteifungen geteilten Bauch.";

    #[test]
    fn names_and_codes_of_all_servers_are_one_code() {
        for (text, code) in
            [("en", "en"), ("EN-gb", "en"), ("english", "en"), ("eng", "en"), ("German", "de"), ("zh_CN", "zh")]
        {
            assert_eq!(code_of(text), Some(code), "{text}");
        }
        assert_eq!((code_of("klingon"), code_of("")), (None, None));
        assert_eq!((told("eo").as_deref(), told("English").as_deref(), told("?")), (Some("eo"), Some("en"), None));
        assert_eq!(name_of("de-AT"), Some("german"));
    }

    #[test]
    fn a_text_in_another_language_is_noticed() {
        assert!(is_other(GERMAN, "en") && is_other(ENGLISH, "de"));
        assert!(!is_other(ENGLISH, "en") && !is_other(GERMAN, "de"));
        assert_eq!((of_text(ENGLISH), of_text(GERMAN), of_text("")), (Some("en"), Some("de"), None));
        assert!(is_other(
            "Όλες οι ευτυχισμένες οικογένειες μοιάζουν μεταξύ τους, κάθε δυστυχισμένη οικογένεια είναι δυστυχισμένη με τον δικό της τρόπο.",
            "en"
        ));
    }

    #[test]
    fn what_cannot_be_judged_is_not_wrong() {
        assert!(!is_other("Bonjour, Monsieur!", "en"), "too short");
        assert!(!is_other(GERMAN, "tlh"), "not in the table");
        assert!(!is_other("12345 67890 12345 67890 12345 67890 12345 67890 12345 67890 12345", "en"), "no letters");
    }
}
