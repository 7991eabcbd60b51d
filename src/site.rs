//! How the service presents itself, made from the settings at start: name, languages, colours, logo and icons.

use std::{fs, path::Path};

use crate::{
    assets::{Asset, Assets, Kind},
    config::{Config, Contact, FooterLink, Palette},
    languages::{Html, Languages, LanguagesError, escaped},
    qr,
};

/// For a logo or icon: an image in a page's corner that is larger has a mistake in it.
const IMAGE_BYTES_MAX: u64 = 64 * 1024;

pub struct Site {
    /// `Go.gov.sg`
    pub name: String,
    /// `https://go.gov.sg`
    pub base_url: String,
    /// What short links begin with, as people write it: `go.gov.sg`.
    pub host: String,
    pub languages: Languages,
    pub contact: Option<Contact>,
    pub footer_links: Vec<FooterLink>,
    /// Whether the foot of citizens' pages leads officers to the console.
    pub officers_link: bool,
    /// The colours as CSS variables, for the top of any style sheet.
    pub theme: String,
    /// Those that only the console has besides.
    pub console_theme: String,
    /// The operator's own, in place of the merlin.
    pub logo: Option<String>,
    /// The same, for QR codes.
    pub qr_logo: Option<qr::Logo>,
    pub icon: Icon,
    /// For a phone's home screen.
    pub touch_icon: String,
    /// What others show of us when they show a page: an absolute address.
    pub share_picture: String,
    pub assets: Assets,
}

/// The mark in a browser's tab.
pub struct Icon {
    pub path: String,
    pub asset: Asset,
}

#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error(transparent)]
    Languages(#[from] LanguagesError),
    #[error("{setting}: {path}: {reason}")]
    Image { setting: &'static str, path: String, reason: String },
}

impl Site {
    /// # Errors
    ///
    /// When a file that the settings name can't be read or isn't what it should be.
    pub fn new(config: &Config) -> Result<Self, SiteError> {
        let settings = &config.site;
        let base_url = config.public.base_url.as_str();
        let host = printed_host(config);
        let languages = languages(config)?;

        let mut assets = Assets::default();
        let (logo, qr_logo) = settings.logo.as_deref().map(logo).transpose()?.unzip();
        let logo = logo.map(|logo| assets.add("logo", logo));
        let built_in = || Asset::new(Kind::Svg, include_bytes!("../assets/icon.svg").as_slice());
        let icon = settings.icon.as_deref().map(icon).transpose()?.unwrap_or_else(built_in);
        let icon = Icon { path: assets.add("icon", icon.clone()), asset: icon };
        let own_png = Some(&icon.asset).filter(|asset| settings.icon.is_some() && asset.kind == Kind::Png);
        let picture = |built_in: &'static [u8]| own_png.cloned().unwrap_or_else(|| Asset::new(Kind::Png, built_in));
        let touch_icon = assets.add("touch-icon", picture(include_bytes!("../assets/touch-icon.png")));
        let share_picture = assets.add("share", picture(include_bytes!("../assets/share.png")));
        Ok(Self {
            name: settings.name.clone(),
            base_url: base_url.to_owned(),
            host: host.to_owned(),
            languages,
            contact: settings.contact.clone(),
            footer_links: settings.footer_links.clone(),
            officers_link: settings.officers_link,
            theme: by_day_and_night(variables, &settings.light, &settings.dark),
            console_theme: by_day_and_night(console_variables, &settings.light, &settings.dark),
            logo,
            qr_logo,
            icon,
            touch_icon,
            share_picture: format!("{base_url}{share_picture}"),
            assets,
        })
    }

    /// Returns all that is wrong with the files of the site, one mistake a file.
    pub fn mistakes(config: &Config) -> Vec<SiteError> {
        let settings = &config.site;
        let languages = languages(config).err();
        let logo = settings.logo.as_deref().map(logo).and_then(Result::err);
        let icon = settings.icon.as_deref().map(icon).and_then(Result::err);
        languages.map(SiteError::from).into_iter().chain(logo).chain(icon).collect()
    }

    /// Where citizens report a link, as a link.
    pub fn contact_link(&self) -> Option<Html<'static>> {
        self.contact.as_ref().map(|contact| match contact {
            Contact::Email(email) => email_link(email.as_str()),
            Contact::Website(address) => {
                let [href, shown] = [address.as_str(), address.as_str().trim_end_matches('/')].map(escaped);
                Html::made(format!("<a href=\"{href}\" rel=\"noreferrer\">{shown}</a>"))
            }
        })
    }
}

fn printed_host(config: &Config) -> &str {
    let base_url = config.public.base_url.as_str();
    base_url.split_once("://").map_or(base_url, |(_, host)| host)
}

fn languages(config: &Config) -> Result<Languages, LanguagesError> {
    let settings = &config.site;
    let constants = [("site", settings.name.as_str()), ("host", printed_host(config))];
    Languages::load(&settings.languages, settings.languages_dir.as_deref(), &constants)
}

/// Reads the operator's logo, for pages and for QR codes.
fn logo(path: &Path) -> Result<(Asset, qr::Logo), SiteError> {
    let logo = image("site.logo", path)?;
    match qr::Logo::parse(logo.content.to_vec()) {
        Ok(qr_logo) => Ok((logo, qr_logo)),
        Err(error) => {
            Err(SiteError::Image { setting: "site.logo", path: path.display().to_string(), reason: error.to_string() })
        }
    }
}

fn icon(path: &Path) -> Result<Asset, SiteError> {
    image("site.icon", path)
}

/// An e-mail address that can be pressed.
pub fn email_link(address: &str) -> Html<'static> {
    // A mailto: address is a URL (RFC 6068): what means something else in one is encoded.
    let encoded = address.replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace('&', "%26");
    Html::made(format!("<a href=\"mailto:{}\">{}</a>", escaped(&encoded), escaped(address)))
}

fn by_day_and_night(variables: fn(&Palette) -> String, light: &Palette, dark: &Palette) -> String {
    format!(":root{{{}}}@media(prefers-color-scheme:dark){{:root{{{}}}}}", variables(light), variables(dark))
}

fn variables(palette: &Palette) -> String {
    format!(
        "--page:{};--sheet:{};--ink:{};--soft:{};--line:{};--accent:{};--on-accent:{};--tint:{}",
        palette.page(),
        palette.background,
        palette.text,
        palette.soft(),
        palette.line(),
        palette.accent,
        palette.on_accent,
        palette.tint(),
    )
}

fn console_variables(palette: &Palette) -> String {
    let [heat_0, heat_1, heat_2, heat_3, heat_4] = palette.heat();
    format!(
        "--edge:{};--bad:{};--bad-tint:{};--good:{};--good-tint:{};\
         --heat-0:{heat_0};--heat-1:{heat_1};--heat-2:{heat_2};--heat-3:{heat_3};--heat-4:{heat_4}",
        palette.edge(),
        palette.bad(),
        palette.tint_of(palette.bad()),
        palette.good(),
        palette.tint_of(palette.good()),
    )
}

fn image(setting: &'static str, path: &Path) -> Result<Asset, SiteError> {
    let error = |reason: String| SiteError::Image { setting, path: path.display().to_string(), reason };
    let size = fs::metadata(path).map_err(|cause| error(format!("can't be read: {cause}")))?.len();
    if size > IMAGE_BYTES_MAX {
        return Err(error(format!("has {size} bytes; allowed: up to {IMAGE_BYTES_MAX}")));
    }
    let content = fs::read(path).map_err(|cause| error(format!("can't be read: {cause}")))?;
    let kind = if content.starts_with(b"\x89PNG\r\n\x1a\n") {
        Kind::Png
    } else if str::from_utf8(&content).is_ok_and(|text| text.contains("<svg")) {
        Kind::Svg
    } else {
        return Err(error("is neither SVG nor PNG".to_owned()));
    };
    Ok(Asset::new(kind, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_e_mail_address_stays_one_address() {
        for (address, html) in [
            ("a@x.gov.sg", "<a href=\"mailto:a@x.gov.sg\">a@x.gov.sg</a>"),
            ("a?cc=b&c@x.gov.sg", "<a href=\"mailto:a%3Fcc=b%26c@x.gov.sg\">a?cc=b&#38;c@x.gov.sg</a>"),
            ("\"><b>@x", "<a href=\"mailto:&#34;&#62;&#60;b&#62;@x\">&#34;&#62;&#60;b&#62;@x</a>"),
        ] {
            assert_eq!(email_link(address).as_str(), html);
        }
    }
}
