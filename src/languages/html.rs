//! Words that are HTML already, told apart by their type from those that are not.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use askama::filters::HtmlSafe;

/// The markup that messages may have. It means the same wherever it stands, and can do no harm.
pub const ELEMENTS: [&str; 3] = ["strong", "code", "bdi"];

/// HTML, to be put into a page as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Html<'a> {
    html: Cow<'a, str>,
    language: Spoken,
}

/// Which language words are in, and what says so: a screen reader would read English out as words of the page's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    AsThePage,
    /// In an element that says so.
    MarkedEnglish,
    /// Where no element can stand. The tag around may say so: see [`Html::lang`].
    English,
}

impl HtmlSafe for Html<'_> {}

impl<'a> Html<'a> {
    /// `html` is ours.
    pub const fn trusted(html: &'a str) -> Self {
        Self { html: Cow::Borrowed(html), language: Spoken::AsThePage }
    }

    /// The same, in English on a page that isn't.
    #[must_use]
    pub fn in_english(self) -> Self {
        Self { language: Spoken::MarkedEnglish, ..self }
    }

    /// Without the mark of another language: in titles and attributes there are no elements.
    #[must_use]
    pub fn unmarked(&self) -> Self {
        let language = match self.language {
            Spoken::AsThePage => Spoken::AsThePage,
            Spoken::MarkedEnglish | Spoken::English => Spoken::English,
        };
        Self { html: self.html.clone(), language }
    }

    /// The attribute for the tag around words that can't have a mark of their own. It holds for all else within, too.
    pub fn lang(&self) -> Html<'static> {
        match self.language {
            Spoken::AsThePage => Html::trusted(""),
            Spoken::MarkedEnglish | Spoken::English => Html::trusted(" lang=\"en\""),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.html
    }
}

impl Html<'static> {
    /// `html` was made of what is escaped or ours.
    pub const fn made(html: String) -> Self {
        Self { html: Cow::Owned(html), language: Spoken::AsThePage }
    }
}

impl fmt::Display for Html<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.language {
            Spoken::MarkedEnglish => write!(formatter, "<span lang=\"en\">{}</span>", self.html),
            Spoken::AsThePage | Spoken::English => formatter.write_str(&self.html),
        }
    }
}

/// Text as HTML, good between tags and in quoted attributes.
pub fn escaped(text: &str) -> Html<'static> {
    let mut html = String::with_capacity(text.len());
    push_escaped(&mut html, text);
    Html::made(html)
}

/// What a message says, as HTML: its own markup stays, everything else is text.
pub fn message(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '>', '&', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut html = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        push_escaped(&mut html, &rest[..at]);
        let tag = tag_at(&rest[at..]).unwrap_or("");
        html.push_str(tag);
        rest = &rest[at + tag.len()..];
        if tag.is_empty() {
            html.push_str("&#60;");
            rest = &rest[1..];
        }
    }
    push_escaped(&mut html, rest);
    Cow::Owned(html)
}

/// The tag of ours that `text` begins with.
fn tag_at(text: &str) -> Option<&str> {
    let end = text.find('>')?;
    let name = text[1..end].trim_start_matches('/');
    (ELEMENTS.contains(&name) && end - name.len() <= 2).then(|| &text[..=end])
}

/// With the references that askama writes.
fn push_escaped(html: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '"' | '\'' => {
                write!(html, "&#{};", u32::from(character)).expect("writing to a String doesn't fail");
            }
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_markup_and_no_other() {
        for (text, html) in [
            ("plain", "plain"),
            ("a <strong>b</strong> & <code>c</code>", "a <strong>b</strong> &#38; <code>c</code>"),
            ("<script>x</script>", "&#60;script&#62;x&#60;/script&#62;"),
            ("<code onclick=\"x\">", "&#60;code onclick=&#34;x&#34;&#62;"),
            ("<//code> < code> <code", "&#60;//code&#62; &#60; code&#62; &#60;code"),
            ("1 < 2 <", "1 &#60; 2 &#60;"),
        ] {
            assert_eq!(message(text), html);
        }
    }
}
