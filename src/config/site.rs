//! How the service presents itself: what makes it one country's own.

use std::path::PathBuf;

use unic_langid::LanguageIdentifier;
use url::Url;

use super::{Origin, Settings, non_empty, parsed};
use crate::domain::{Colour, Email, colour};

#[derive(Clone, Debug)]
pub struct Site {
    /// `Go.gov.sg`
    pub name: String,
    /// At least one; the first is for those whose browser asks for none of them.
    pub languages: Vec<LanguageIdentifier>,
    /// With other languages, and other words.
    pub languages_dir: Option<PathBuf>,
    /// Beside the name on every page.
    pub logo: Option<PathBuf>,
    /// In the browser's tab.
    pub icon: Option<PathBuf>,
    /// Where citizens report a link.
    pub contact: Option<Contact>,
    pub footer_links: Vec<FooterLink>,
    /// At the foot of citizens' pages, to the console.
    pub officers_link: bool,
    pub light: Palette,
    pub dark: Palette,
}

/// Whom citizens can reach: a mailbox or a website.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    Email(Email),
    Website(Url),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FooterLink {
    pub words: String,
    pub address: Url,
}

/// Colours that can be read on each other.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// Of links, buttons and the stripe on top.
    pub accent: Colour,
    /// Of words on buttons.
    pub on_accent: Colour,
    pub background: Colour,
    pub text: Colour,
}

impl Site {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let name = settings.take("site.name", "a name of 1 to 60 characters", |text| {
            non_empty(text).filter(|name| name.chars().count() <= 60).map(str::to_owned)
        });
        let languages = settings.take_list("site.languages", "language tags, as en or zh-Hans", |text| {
            text.parse().ok().filter(|_| !text.contains('_'))
        });
        for reason in languages.iter().flat_map(|languages| mistakes(languages)) {
            let origin = settings.origin("site.languages");
            settings.mistake(&origin, "site.languages", &reason);
        }
        let folder = |text: &str| Some(non_empty(text).map(PathBuf::from));
        let languages_dir = settings.take("site.languages_dir", "the path of a folder, or empty", folder);
        let logo = settings.take("site.logo", "the path of an SVG or PNG file, or empty", folder);
        let icon = settings.take("site.icon", "the path of an SVG or PNG file, or empty", folder);
        let contact = settings.take("site.contact", "an e-mail address, an https:// address, or empty", |text| {
            if text.is_empty() { Some(None) } else { Contact::parse(text).map(Some) }
        });
        let footer_links = settings.take_list(
            "site.footer_links",
            "words=address, as Privacy=https://go.example/privacy",
            FooterLink::parse,
        );
        let officers_link = settings.take("site.officers_link", "true or false", parsed);
        let light = Palette::read(settings, "");
        let dark = Palette::read(settings, "dark_");
        Some(Self {
            name: name?,
            languages: languages?,
            languages_dir: languages_dir?,
            logo: logo?,
            icon: icon?,
            contact: contact?,
            footer_links: footer_links?,
            officers_link: officers_link?,
            light: light?,
            dark: dark?,
        })
    }
}

/// What is wrong with a list of languages, each of which is good by itself.
fn mistakes(languages: &[LanguageIdentifier]) -> Vec<String> {
    if languages.is_empty() {
        return vec!["is empty; allowed: at least one language tag, as en".to_owned()];
    }
    let is_again = |(place, tag): &(usize, &LanguageIdentifier)| languages[..*place].contains(tag);
    let again = languages.iter().enumerate().filter(is_again);
    again.map(|(_, tag)| format!("{tag} stands there twice")).collect()
}

impl Contact {
    fn parse(text: &str) -> Option<Self> {
        if text.contains("://") { website(text).map(Self::Website) } else { text.parse().ok().map(Self::Email) }
    }
}

impl FooterLink {
    fn parse(text: &str) -> Option<Self> {
        let (words, address) = text.split_once('=')?;
        let words = non_empty(words.trim()).filter(|words| words.chars().count() <= 60)?.to_owned();
        Some(Self { words, address: website(address.trim())? })
    }
}

fn website(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host())
}

impl Palette {
    /// The settings `site.<prefix>accent` and so on. Words that can't be read on their ground are a mistake.
    fn read(settings: &mut Settings, prefix: &str) -> Option<Self> {
        let mut colour = |name: &str| settings.take(&format!("site.{prefix}{name}"), "a colour, as #0a5299", parsed);
        let [accent, on_accent, background, text] = ["accent", "on_accent", "background", "text"].map(&mut colour);
        let palette = Self { accent: accent?, on_accent: on_accent?, background: background?, text: text? };
        let keys = ["accent", "on_accent", "background", "text"].map(|name| format!("site.{prefix}{name}"));
        if keys.iter().any(|key| settings.is_refused(key)) {
            // A default that stands in for a colour needn't go with the others.
            return Some(palette);
        }
        let pairs = [
            ("text", palette.text, "background", palette.background),
            ("accent", palette.accent, "background", palette.background),
            ("on_accent", palette.on_accent, "accent", palette.accent),
            // What these are mixed from is named: nobody sets them.
            ("text", palette.soft(), "background", palette.page()),
            ("accent", palette.accent, "background", palette.page()),
            ("accent", palette.accent, "background", palette.tint()),
            ("text", palette.soft(), "background", palette.tint()),
        ];
        for (words, on_top, ground, below) in pairs {
            let contrast = on_top.contrast(below);
            if contrast < colour::READABLE {
                let reason = format!(
                    "can't be read on site.{prefix}{ground}: {on_top} on {below} has a contrast of {contrast:.1}; WCAG \
                     asks for {} at least",
                    colour::READABLE
                );
                let pair = [words, ground].map(|name| format!("site.{prefix}{name}"));
                let origins = pair.each_ref().map(|key| settings.origin(key));
                // The colour that was set is at fault, not the default beside it.
                let set = origins.iter().find(|origin| **origin != Origin::Default);
                settings.mistake(set.unwrap_or(&Origin::Default), &pair[0], &reason);
                return Some(palette);
            }
        }
        for signal in [palette.bad(), palette.good()] {
            let contrast = signal.contrast(palette.background);
            if contrast < colour::READABLE {
                let key = format!("site.{prefix}background");
                let reason = format!(
                    "what went wrong or well can't be read on it in the console: {signal} on {} has a contrast \
                     of {contrast:.1}; WCAG asks for {} at least",
                    palette.background,
                    colour::READABLE
                );
                let origin = settings.origin(&key);
                settings.mistake(&origin, &key, &reason);
                return Some(palette);
            }
        }
        Some(palette)
    }

    /// Of words that matter less.
    pub fn soft(&self) -> Colour {
        self.text.over(self.background, 78)
    }

    /// Around the sheet that the words are on: a little darker than that, by day and by night.
    pub fn page(&self) -> Colour {
        if self.is_dark() { Colour::BLACK.over(self.background, 30) } else { self.text.over(self.background, 5) }
    }

    fn is_dark(&self) -> bool {
        self.background.contrast(Colour::BLACK) < self.background.contrast(Colour::WHITE)
    }

    /// Behind what matters most.
    pub fn tint(&self) -> Colour {
        self.accent.over(self.background, 9)
    }

    /// Of lines between things.
    pub fn line(&self) -> Colour {
        self.text.over(self.background, 18)
    }

    /// Around what can be filled in. As text can be read, this can be seen: WCAG 2.2, 1.4.11, asks for a contrast of 3.
    pub fn edge(&self) -> Colour {
        self.text.over(self.background, 65)
    }

    /// Of what went wrong, and of what can't be undone.
    pub fn bad(&self) -> Colour {
        if self.is_dark() { colour::PALE_RED } else { colour::DEEP_RED }
    }

    /// Of what went well.
    pub fn good(&self) -> Colour {
        if self.is_dark() { colour::PALE_GREEN } else { colour::DEEP_GREEN }
    }

    /// Behind words about something that went wrong, or well.
    pub fn tint_of(&self, signal: Colour) -> Colour {
        signal.over(self.background, 9)
    }

    /// From few to many: the shades of a map.
    pub fn heat(&self) -> [Colour; 5] {
        let share = |percent| self.accent.over(self.background, percent);
        [self.text.over(self.background, 7), share(25), share(45), share(70), share(100)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_env;

    #[test]
    fn colours_that_cannot_be_read_are_refused_with_their_contrast() {
        let error = with_env(&[("MERLINK_SITE__ACCENT", "#7fb2e5")]).expect_err("too pale").to_string();
        assert!(error.contains("site.accent: can't be read on site.background: #7fb2e5 on #ffffff"), "{error}");
        let error = with_env(&[("MERLINK_SITE__DARK_ON_ACCENT", "#ffffff")]).expect_err("too pale").to_string();
        assert!(error.contains("site.dark_on_accent: can't be read on site.dark_accent"), "{error}");
        let error = with_env(&[("MERLINK_SITE__TEXT", "blue")]).expect_err("no colour").to_string();
        assert!(error.contains("site.text: \"blue\" isn't allowed; allowed: a colour"), "{error}");
        with_env(&[("MERLINK_SITE__ACCENT", "#c8102e")]).expect("red on white can be read");
        let grey = [
            ("MERLINK_SITE__BACKGROUND", "#9a9a9a"),
            ("MERLINK_SITE__TEXT", "#000000"),
            ("MERLINK_SITE__ACCENT", "#000000"),
        ];
        let error = with_env(&grey).expect_err("neither red nor green can be read on it").to_string();
        assert!(error.contains("site.background: what went wrong or well can't be read on it"), "{error}");
    }

    #[test]
    fn a_contact_is_a_mailbox_or_a_website_and_footer_links_are_websites() {
        let site = |name: &str, value: &str| with_env(&[(name, value)]).map(|config| config.site);
        for good in ["report@go.example", "https://go.example/report"] {
            assert!(site("MERLINK_SITE__CONTACT", good).expect(good).contact.is_some(), "{good}");
        }
        for bad in ["http://go.example", "javascript://x", "go.example", "https://"] {
            assert!(site("MERLINK_SITE__CONTACT", bad).is_err(), "{bad}");
        }
        let links = "Privacy=https://go.example/p?a=b, About us = https://go.example/about";
        let links = site("MERLINK_SITE__FOOTER_LINKS", links).expect("good").footer_links;
        let links: Vec<(&str, &str)> = links.iter().map(|link| (link.words.as_str(), link.address.as_str())).collect();
        assert_eq!(links, [("Privacy", "https://go.example/p?a=b"), ("About us", "https://go.example/about")]);
        for bad in ["https://go.example/p", "=https://go.example", "Privacy=/privacy", "Privacy=javascript:alert(1)"] {
            assert!(site("MERLINK_SITE__FOOTER_LINKS", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn at_least_one_language_is_offered() {
        let languages = |value: &str| with_env(&[("MERLINK_SITE__LANGUAGES", value)]);
        assert_eq!(languages("ms, zh-hans").expect("good").site.languages[1].to_string(), "zh-Hans");
        for bad in ["", "english please", "../en", "en_SG", "en,ms,EN"] {
            assert!(languages(bad).is_err(), "{bad}");
        }
    }
}
