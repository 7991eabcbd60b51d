//! A short link as a QR code: SVG for printers, PNG for everything else.
//!
//! Both are drawn from one plan, in which a module is the unit. In the PNG a module is a whole number of pixels, so that no edge is
//! blurred; what is left over goes to the margin. The label is drawn from a font's outlines, never as text: it looks the same wherever the
//! SVG is opened. Its font tells `0` from `o` and `1` from `l`, since people type what they read.
//!
//! A logo covers modules, so a code with one is always made with the strongest error correction, of which the logo takes about a third.
//!
//! Correction mends whole bytes of eight modules, and a stain spoils every byte that it touches. In a small code that makes a fifth of dirt more
//! than the third that `H` mends; with smaller modules fewer lie on the stain's edge. So a code with `H` has at least [`TOUGH_VERSION`].

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use epaint_default_fonts::HACK_REGULAR;
use qrcode::{Color, EcLevel, QrCode, Version};
use resvg::{
    tiny_skia::{
        FillRule, FilterQuality, Mask, Path as Outline, PathBuilder, PathSegment, Pixmap, PixmapPaint, Transform,
    },
    usvg,
};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// Pixels: 2,048 are 17 cm at 300 dots an inch. Whoever prints larger takes the SVG.
pub const SIZE_MAX: u32 = 2048;
pub const SIZE_MIN: u32 = 32;
pub const SIZE_DEFAULT: u32 = 512;

/// Modules. The standard's quiet zone is four (ISO/IEC 18004, 5.3.8); less may be right where the paper around is white.
pub const MARGIN_MAX: u32 = 32;
pub const MARGIN_DEFAULT: u32 = 4;

/// Of a PNG logo's sides, in pixels: a small file can hold a very large picture.
const LOGO_SIDE_MAX: u32 = 2048;

/// 61 modules a side. With zbarimg, of 48 square and round stains of a fifth of the code, in eight places and three shades, as large as 2 cm
/// at 300 dots an inch, version 5 is read through 19, 9 through 41 and 11 through all; 12 and more come to less again. A module is then 0.29 mm
/// on a print of 2 cm, margin included.
const TOUGH_VERSION: i16 = 11;
/// Where a module would have fewer pixels than this, a code that is easier to see is worth more than one that withstands dirt.
const TOUGH_MODULE_PIXELS_MIN: u32 = 3;

/// Letters in a line of the label, before it is broken. A line as wide as the code is then some 1 mm high on a code of 2 cm.
const LABEL_LINE_MAX: usize = 40;
/// Height of the label's letters, as a part of the code's width, when the line is short.
const LABEL_HEIGHT_MAX: f32 = 0.1;
const LINE_SPACING: f32 = 1.25;

/// How much of what a code says may be spoilt: about 7, 15, 25 and 30 %. With `H` a stain may cover a fifth of the code, wherever it leaves the
/// squares in the corners free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    L,
    M,
    Q,
    H,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Svg,
    Png,
}

impl Format {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Svg => "image/svg+xml",
            Self::Png => "image/png",
        }
    }

    /// Of files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

/// What the officer chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Width in pixels, [`SIZE_MIN`] to [`SIZE_MAX`].
    pub size: u32,
    /// Modules on each side, up to [`MARGIN_MAX`].
    pub margin: u32,
    /// A code with a logo has `H`, whatever is said here.
    pub correction: Correction,
    /// The short link is printed under the code.
    pub label: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QrError {
    #[error("the short link is too long for a QR code")]
    TooLong,
    #[error("a code with this margin takes at least {0} pixels")]
    TooSmall(u32),
}

/// What stands in the middle of a code.
pub struct Logo {
    picture: Picture,
    width: f32,
    height: f32,
}

enum Picture {
    /// The file as it is, for SVGs, and its pixels.
    Png(Vec<u8>, Box<Pixmap>),
    Svg(Box<usvg::Tree>),
}

#[derive(Debug, thiserror::Error)]
#[error("this is neither a PNG of at most {LOGO_SIDE_MAX} x {LOGO_SIDE_MAX} pixels nor an SVG: {0}")]
pub struct NoLogo(String);

/// Draws `short_url` in `format`.
///
/// # Errors
///
/// When it can't be drawn so.
pub fn draw(short_url: &str, format: Format, look: Look, logo: Option<&Logo>) -> Result<Vec<u8>, QrError> {
    let plan = Plan::new(short_url, format, look, logo)?;
    match format {
        Format::Svg => Ok(plan.to_svg(look.size).into_bytes()),
        Format::Png => plan.to_png(look.size),
    }
}

/// A code in modules: its upper left one is at (0, 0), the margin lies outside.
struct Plan<'l> {
    title: &'l str,
    side: u32,
    margin: u32,
    /// Row by row.
    dark: Vec<bool>,
    label: Option<Label>,
    logo: Option<(&'l Logo, Frame)>,
}

/// The square that is kept free for a logo.
#[derive(Clone, Copy)]
struct Frame {
    from: u32,
    side: u32,
}

impl<'l> Plan<'l> {
    fn new(short_url: &'l str, format: Format, look: Look, logo: Option<&'l Logo>) -> Result<Self, QrError> {
        let level = match (logo, look.correction) {
            (Some(_), _) | (None, Correction::H) => EcLevel::H,
            (None, Correction::Q) => EcLevel::Q,
            (None, Correction::M) => EcLevel::M,
            (None, Correction::L) => EcLevel::L,
        };
        let code = encode(short_url, level, format, look)?;
        let side = u32::try_from(code.width()).expect("177 modules at most");
        let mut dark: Vec<bool> = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        let frame = Frame::in_the_middle_of(side);
        if logo.is_some() {
            for (at, dark) in (0..).zip(&mut dark) {
                *dark &= !frame.covers(at % side, at / side);
            }
        }
        let label = look.label.then(|| Label::new(short_url, as_f32(side), look.margin));
        Ok(Self { title: short_url, side, margin: look.margin, dark, label, logo: logo.map(|logo| (logo, frame)) })
    }

    fn width(&self) -> u32 {
        self.side + 2 * self.margin
    }

    fn label_height(&self) -> f32 {
        self.label.as_ref().map_or(0.0, |label| label.height)
    }

    /// Dark modules side by side, as column, row and length.
    fn runs(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        let rows = (0..).zip(self.dark.chunks(self.side as usize));
        rows.flat_map(|(row, modules)| {
            let mut column = 0;
            let same = modules.chunk_by(|one, next| one == next);
            same.filter_map(move |run| {
                let (from, length) = (column, u32::try_from(run.len()).expect("177 modules at most"));
                column += length;
                run[0].then_some((from, row, length))
            })
        })
    }

    fn to_svg(&self, size: u32) -> String {
        let (width, margin) = (as_f32(self.width()), as_f32(self.margin));
        let height = width + self.label_height();
        let pixels_high = (as_f32(size) * height / width).round();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size}\" height=\"{pixels_high}\" \
             viewBox=\"{} {} {width} {height}\" role=\"img\"><title>{}</title>\
             <path fill=\"#fff\" d=\"M{} {}h{width}v{height}h-{width}z\"/><path shape-rendering=\"crispEdges\" d=\"",
            0.0 - margin,
            0.0 - margin,
            escape(self.title),
            0.0 - margin,
            0.0 - margin,
        );
        for (column, row, length) in self.runs() {
            write!(svg, "M{column} {row}h{length}v1h-{length}z").expect("a String takes everything");
        }
        svg.push_str("\"/>");
        if let Some(outline) = self.label.as_ref().and_then(|label| label.outline.as_ref()) {
            svg.push_str("<path d=\"");
            push_outline(&mut svg, outline);
            svg.push_str("\"/>");
        }
        if let Some((logo, frame)) = self.logo {
            logo.push_svg(&mut svg, frame);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn to_png(&self, size: u32) -> Result<Vec<u8>, QrError> {
        let module = size / self.width();
        if module == 0 {
            return Err(QrError::TooSmall(self.width()));
        }
        let start = (size - self.side * module) / 2;
        let (scale, offset) = (as_f32(module), as_f32(start));
        let height = size + as_u32((self.label_height() * scale).ceil());
        let mut ink = Mask::new(size, height).expect("no side is 0, and both have their limits");
        for (column, row, length) in self.runs() {
            for y in start + row * module..start + (row + 1) * module {
                let from = (y * size + start + column * module) as usize;
                ink.data_mut()[from..from + (length * module) as usize].fill(u8::MAX);
            }
        }
        if let Some(outline) = self.label.as_ref().and_then(|label| label.outline.as_ref()) {
            let to_pixels = Transform::from_row(scale, 0.0, 0.0, scale, offset, offset);
            ink.fill_path(outline, FillRule::Winding, true, to_pixels);
        }
        let picture = self.logo.map(|(logo, frame)| {
            (logo.to_pixels(frame.side * module, module), start + frame.from * module, frame.side * module)
        });
        Ok(encode_png(&ink, picture.as_ref()))
    }
}

/// The smallest code that holds the text, or with `H` a tough one where there is room for it.
fn encode(text: &str, level: EcLevel, format: Format, look: Look) -> Result<QrCode, QrError> {
    let tough = Version::Normal(TOUGH_VERSION);
    let modules = u32::try_from(tough.width()).expect("177 modules at most") + 2 * look.margin;
    let has_room = format == Format::Svg || look.size / modules >= TOUGH_MODULE_PIXELS_MIN;
    if level == EcLevel::H
        && has_room
        && let Ok(code) = QrCode::with_version(text, tough, level)
    {
        return Ok(code);
    }
    QrCode::with_error_correction_level(text, level).map_err(|_| QrError::TooLong)
}

impl Frame {
    /// A fifth of the code's side, and odd as that is: up to 5 % of the area.
    fn in_the_middle_of(code_side: u32) -> Self {
        let side = (code_side / 5) | 1;
        Self { from: (code_side - side) / 2, side }
    }

    fn covers(self, column: u32, row: u32) -> bool {
        let inside = self.from..self.from + self.side;
        inside.contains(&column) && inside.contains(&row)
    }
}

/// The short link under a code, in modules.
struct Label {
    /// `None`: the font has none of the letters.
    outline: Option<Outline>,
    height: f32,
}

impl Label {
    fn new(short_url: &str, code_side: f32, margin: u32) -> Self {
        let text = short_url.split_once("://").map_or(short_url, |(_, rest)| rest);
        let letters: Vec<char> = text.chars().collect();
        let face = Face::parse(HACK_REGULAR, 0).expect("the font that is compiled in is one");
        let units = f32::from(face.units_per_em());
        let advance = face.glyph_hor_advance(GlyphId(0)).map_or(0.6, |width| f32::from(width) / units);

        let longest = as_f32(u32::try_from(letters.len().clamp(1, LABEL_LINE_MAX)).unwrap_or(u32::MAX));
        let size = (code_side / (longest * advance)).min(code_side * LABEL_HEIGHT_MAX);
        let mut baseline = code_side + as_f32(margin) + size;
        let mut pen = Pen { path: PathBuilder::new(), scale: size / units, x: 0.0, y: 0.0 };
        let mut lines = 0.0;
        for line in letters.chunks(LABEL_LINE_MAX) {
            let width = as_f32(u32::try_from(line.len()).unwrap_or(u32::MAX)) * advance * size;
            (pen.x, pen.y) = ((code_side - width) / 2.0, baseline);
            for letter in line {
                if let Some(glyph) = face.glyph_index(*letter) {
                    face.outline_glyph(glyph, &mut pen);
                }
                pen.x += advance * size;
            }
            baseline += size * LINE_SPACING;
            lines += 1.0;
        }
        Self { outline: pen.path.finish(), height: (lines * LINE_SPACING * size + as_f32(margin.max(1)) / 2.0).ceil() }
    }
}

/// Puts glyphs, which have their origin at the baseline and grow upwards, where they belong.
struct Pen {
    path: PathBuilder,
    scale: f32,
    x: f32,
    y: f32,
}

impl Pen {
    fn place(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, self.y - y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.place(x1, y1), self.place(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.place(x1, y1), self.place(x2, y2), self.place(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

impl Logo {
    /// Takes what the operator's file holds.
    ///
    /// # Errors
    ///
    /// When it isn't a picture of a kind and size that can be used.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, NoLogo> {
        if bytes.starts_with(b"\x89PNG") {
            let (width, height) = png_size(&bytes).map_err(|error| NoLogo(error.to_string()))?;
            if width.max(height) > LOGO_SIDE_MAX {
                return Err(NoLogo(format!("it has {width} x {height}")));
            }
            let pixels = Pixmap::decode_png(&bytes).map_err(|error| NoLogo(error.to_string()))?;
            return Ok(Self {
                picture: Picture::Png(bytes, Box::new(pixels)),
                width: as_f32(width),
                height: as_f32(height),
            });
        }
        // What the file refers to outside itself is left out.
        let tree = usvg::Tree::from_data_nested(&bytes, &usvg::Options::default())
            .map_err(|error| NoLogo(error.to_string()))?;
        let size = tree.size();
        Ok(Self { picture: Picture::Svg(Box::new(tree)), width: size.width(), height: size.height() })
    }

    /// Where it stands in a square: as large as it fits, half of `padding` away from the edges, in the middle.
    fn fit(&self, side: f32, padding: f32) -> (f32, f32, f32) {
        let scale = (side - padding) / self.width.max(self.height);
        ((side - self.width * scale) / 2.0, (side - self.height * scale) / 2.0, scale)
    }

    fn push_svg(&self, svg: &mut String, frame: Frame) {
        let (x, y, scale) = self.fit(as_f32(frame.side), 1.0);
        let from = as_f32(frame.from);
        let place = format!("<g transform=\"translate({} {}) scale({scale})\">", from + x, from + y);
        svg.push_str(&place);
        match &self.picture {
            Picture::Png(bytes, _) => {
                let (width, height) = (self.width, self.height);
                write!(
                    svg,
                    "<image width=\"{width}\" height=\"{height}\" href=\"data:image/png;base64,{}\"/>",
                    BASE64.encode(bytes)
                )
                .expect("a String takes everything");
            }
            Picture::Svg(tree) => {
                let ours = usvg::WriteOptions {
                    id_prefix: Some("logo-".to_owned()),
                    indent: usvg::Indent::None,
                    ..usvg::WriteOptions::default()
                };
                svg.push_str(tree.to_string(&ours).trim());
            }
        }
        svg.push_str("</g>");
    }

    /// On white, in a square of so many pixels.
    fn to_pixels(&self, side: u32, padding: u32) -> Pixmap {
        let mut square = Pixmap::new(side, side).expect("a frame has modules, and a module pixels");
        square.fill(resvg::tiny_skia::Color::WHITE);
        let (x, y, scale) = self.fit(as_f32(side), as_f32(padding));
        let place = Transform::from_row(scale, 0.0, 0.0, scale, x, y);
        match &self.picture {
            Picture::Png(_, pixels) => {
                let smooth = PixmapPaint { quality: FilterQuality::Bicubic, ..PixmapPaint::default() };
                square.draw_pixmap(0, 0, pixels.as_ref().as_ref(), &smooth, place, None);
            }
            Picture::Svg(tree) => resvg::render(tree, place, &mut square.as_mut()),
        }
        square
    }
}

fn png_size(bytes: &[u8]) -> Result<(u32, u32), png::DecodingError> {
    let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info()?;
    Ok(reader.info().size())
}

/// Black on white, in grey; in colour when there is a picture: a square, where it begins, and its side.
fn encode_png(ink: &Mask, picture: Option<&(Pixmap, u32, u32)>) -> Vec<u8> {
    let mut grey: Vec<u8> = ink.data().iter().map(|ink| u8::MAX - ink).collect();
    let color = if let Some((square, from, side)) = picture {
        grey = grey.into_iter().flat_map(|grey| [grey; 3]).collect();
        for (y, row) in (*from..).zip(square.pixels().chunks(*side as usize)) {
            let at = ((y * ink.width() + from) * 3) as usize;
            for (pixel, color) in grey[at..].chunks_mut(3).zip(row) {
                pixel.copy_from_slice(&[color.red(), color.green(), color.blue()]);
            }
        }
        png::ColorType::Rgb
    } else {
        png::ColorType::Grayscale
    };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, ink.width(), ink.height());
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&grey))
        .expect("a Vec takes everything, and the pixels are as many as the header says");
    file
}

/// In path data, to a thousandth of a module.
fn push_outline(svg: &mut String, outline: &Outline) {
    let round = |number: f32| (number * 1000.0).round() / 1000.0;
    let mut push = |letter: char, points: &[resvg::tiny_skia::Point]| {
        svg.push(letter);
        for (index, point) in points.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(svg, "{gap}{} {}", round(point.x), round(point.y)).expect("a String takes everything");
        }
    };
    for segment in outline.segments() {
        match segment {
            PathSegment::MoveTo(to) => push('M', &[to]),
            PathSegment::LineTo(to) => push('L', &[to]),
            PathSegment::QuadTo(by, to) => push('Q', &[by, to]),
            PathSegment::CubicTo(one, two, to) => push('C', &[one, two, to]),
            PathSegment::Close => push('Z', &[]),
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Exact for all that is drawn here, which is far below 2^24.
#[expect(clippy::cast_precision_loss, reason = "modules and pixels are few")]
fn as_f32(number: u32) -> f32 {
    number as f32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a height in whole pixels")]
fn as_u32(number: f32) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const SHORT_URL: &str = "https://go.agency.gov.sg/iras-tax-2026";
    const LOOK: Look = Look { size: SIZE_DEFAULT, margin: MARGIN_DEFAULT, correction: Correction::H, label: false };
    /// 2 cm at 300 dots an inch.
    const PRINTED_2_CM: u32 = 236;

    const SVG_LOGO: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10" onload="alert(1)">
        <script>alert(2)</script><image href="/etc/passwd" width="5" height="5"/>
        <linearGradient id="g"><stop stop-color="#c00"/><stop offset="1" stop-color="#00c"/></linearGradient>
        <rect width="20" height="10" rx="3" fill="url(#g)"/></svg>"##;

    struct Picture {
        width: u32,
        height: u32,
        grey: Vec<u8>,
    }

    impl Picture {
        fn of(file: &[u8]) -> Self {
            let pixmap = Pixmap::decode_png(file).expect("a PNG");
            let grey = pixmap.pixels().iter().map(|pixel| pixel.green()).collect();
            Self { width: pixmap.width(), height: pixmap.height(), grey }
        }

        fn of_svg(file: &[u8]) -> Self {
            let tree = usvg::Tree::from_data(file, &usvg::Options::default()).expect("an SVG");
            let size = tree.size().to_int_size();
            let mut pixmap = Pixmap::new(size.width(), size.height()).expect("has sides");
            resvg::render(&tree, Transform::default(), &mut pixmap.as_mut());
            Self::of(&pixmap.encode_png().expect("encodes"))
        }

        /// Covers a rectangle, in parts of the width.
        fn stain(&mut self, from: (f32, f32), to: (f32, f32), shade: u8) {
            let pixel = |part: f32| as_u32(part * as_f32(self.width));
            for y in pixel(from.1)..pixel(to.1) {
                for x in pixel(from.0)..pixel(to.0) {
                    self.grey[(y * self.width + x) as usize] = shade;
                }
            }
        }

        /// What a phone would read.
        fn read(&self) -> Option<String> {
            let file = tempfile::Builder::new().suffix(".pgm").tempfile().expect("a temporary file");
            let header = format!("P5 {} {} 255\n", self.width, self.height);
            std::fs::write(file.path(), [header.as_bytes(), &self.grey].concat()).expect("can be written");
            let zbarimg = Command::new("zbarimg")
                .args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"])
                .arg(file.path())
                .stderr(Stdio::null())
                .output()
                .expect("zbarimg runs: make test-all installs it");
            zbarimg.status.success().then(|| String::from_utf8_lossy(&zbarimg.stdout).trim_end().to_owned())
        }
    }

    fn png(look: Look, logo: Option<&Logo>) -> Picture {
        Picture::of(&draw(SHORT_URL, Format::Png, look, logo).expect("a code"))
    }

    fn logos() -> [Logo; 2] {
        let mut pixmap = Pixmap::new(300, 200).expect("has sides");
        pixmap.fill(resvg::tiny_skia::Color::from_rgba8(10, 60, 160, 255));
        [SVG_LOGO.as_bytes().to_vec(), pixmap.encode_png().expect("encodes")]
            .map(|file| Logo::parse(file).expect("a logo"))
    }

    #[test]
    fn every_look_can_be_read() {
        let sizes = [(100, 2), (PRINTED_2_CM, 4), (SIZE_DEFAULT, 1), (777, 9)];
        for (correction, (size, margin)) in
            [Correction::L, Correction::M, Correction::Q, Correction::H].into_iter().zip(sizes)
        {
            for label in [false, true] {
                let look = Look { size, margin, correction, label };
                assert_eq!(png(look, None).read().as_deref(), Some(SHORT_URL), "{look:?}");
                let svg = draw(SHORT_URL, Format::Svg, look, None).expect("a code");
                assert_eq!(Picture::of_svg(&svg).read().as_deref(), Some(SHORT_URL), "as SVG: {look:?}");
            }
        }
    }

    #[test]
    fn a_code_with_a_logo_can_be_read_in_both_formats() {
        for logo in &logos() {
            let look = Look { size: PRINTED_2_CM, correction: Correction::L, label: true, ..LOOK };
            assert_eq!(png(look, Some(logo)).read().as_deref(), Some(SHORT_URL));
            let svg = draw(SHORT_URL, Format::Svg, Look { size: SIZE_DEFAULT, ..look }, Some(logo)).expect("a code");
            assert_eq!(Picture::of_svg(&svg).read().as_deref(), Some(SHORT_URL));
        }
    }

    #[test]
    fn the_logo_is_there_and_nothing_that_runs_or_leads_elsewhere() {
        let [svg_logo, png_logo] = logos();
        let text =
            |logo| String::from_utf8(draw(SHORT_URL, Format::Svg, LOOK, Some(logo)).expect("a code")).expect("UTF-8");
        let with_svg = text(&svg_logo);
        assert!(with_svg.contains("linearGradient"), "{with_svg}");
        for evil in ["script", "onload", "passwd", "alert"] {
            assert!(!with_svg.contains(evil), "{evil}: {with_svg}");
        }
        assert!(text(&png_logo).contains("data:image/png;base64,"));
        let pixmap =
            Pixmap::decode_png(&draw(SHORT_URL, Format::Png, LOOK, Some(&png_logo)).expect("a code")).expect("a PNG");
        let middle = pixmap.pixel(SIZE_DEFAULT / 2, SIZE_DEFAULT / 2).expect("inside");
        assert_eq!((middle.red(), middle.green(), middle.blue()), (10, 60, 160));
    }

    /// Whether a print of 2 cm is read when a square stain covers this part of the code, its middle at `at` of the code.
    fn is_read_through(part: f32, at: (f32, f32), shade: u8, logo: Option<&Logo>) -> bool {
        let mut picture = png(Look { size: PRINTED_2_CM, ..LOOK }, logo);
        // 61 modules of 3 pixels are the code, the others its margin.
        let (side, half) = (61.0 * 3.0 / as_f32(PRINTED_2_CM), f32::sqrt(part) / 2.0);
        let place = |at: f32| (1.0 - side) / 2.0 + at * side;
        let (from, to) = ((at.0 - half, at.1 - half), (at.0 + half, at.1 + half));
        picture.stain((place(from.0), place(from.1)), (place(to.0), place(to.1)), shade);
        picture.read().as_deref() == Some(SHORT_URL)
    }

    #[test]
    fn a_print_of_2_cm_is_read_though_a_fifth_of_it_is_stained_or_scratched_off() {
        let [svg_logo, png_logo] = logos();
        let middle = (0.5, 0.5);
        for shade in [0, 90, 255] {
            for at in [middle, (0.5, 0.7), (0.7, 0.5), (0.6, 0.6), (0.7, 0.7), (0.55, 0.45), (0.45, 0.55)] {
                assert!(is_read_through(0.2, at, shade, None), "a fifth around {at:?}: {shade}");
                for logo in [&svg_logo, &png_logo] {
                    assert!(is_read_through(0.12, at, shade, Some(logo)), "12 % and a logo, around {at:?}: {shade}");
                }
            }
            for logo in [&svg_logo, &png_logo] {
                assert!(is_read_through(0.2, middle, shade, Some(logo)), "a fifth, the logo in it: {shade}");
            }
        }
    }

    #[test]
    fn a_code_is_tough_where_there_is_room_and_else_as_small_as_can_be() {
        let modules = |format, size, margin, correction| {
            let look = Look { size, margin, correction, label: false };
            Plan::new(SHORT_URL, format, look, None).expect("a code").side
        };
        assert_eq!(modules(Format::Svg, SIZE_MIN, 4, Correction::H), 61);
        assert_eq!(modules(Format::Png, 3 * 69, 4, Correction::H), 61);
        assert_eq!(modules(Format::Png, 3 * 69 - 1, 4, Correction::H), 37);
        assert_eq!(modules(Format::Svg, SIZE_DEFAULT, 4, Correction::Q), 33);
    }

    #[test]
    fn the_picture_is_as_wide_as_asked_and_has_room_for_the_label() {
        for size in [SIZE_MIN + 13, 100, 511] {
            let plain = png(Look { size, ..LOOK }, None);
            assert_eq!((plain.width, plain.height), (size, size));
            let labelled = png(Look { size, label: true, ..LOOK }, None);
            assert_eq!(labelled.width, size);
            assert!(labelled.height > size && labelled.height < size * 3 / 2, "{}", labelled.height);
        }
        let widest = draw(SHORT_URL, Format::Png, Look { size: SIZE_MAX, ..LOOK }, None).expect("a code");
        assert_eq!(png_size(&widest).expect("a PNG"), (SIZE_MAX, SIZE_MAX));
    }

    #[test]
    fn a_code_that_would_have_less_than_a_pixel_for_a_module_is_refused_as_a_png_only() {
        let look = |size| Look { size, ..LOOK };
        assert_eq!(draw(SHORT_URL, Format::Png, look(44), None), Err(QrError::TooSmall(45)));
        assert!(draw(SHORT_URL, Format::Png, look(45), None).is_ok());
        assert!(draw(SHORT_URL, Format::Svg, look(44), None).is_ok());
        let longest = format!("https://{}.gov.sg/{}", "a".repeat(240), "b".repeat(255));
        assert!(draw(&longest, Format::Svg, Look { label: true, ..LOOK }, None).is_ok());
        assert_eq!(draw(&"a".repeat(3000), Format::Svg, LOOK, None), Err(QrError::TooLong));
    }

    #[test]
    fn a_logo_that_is_no_picture_is_refused() {
        for file in [
            &b"GIF89a"[..],
            b"",
            b"<html/>",
            b"\x89PNG\r\n\x1a\n",
            b"<svg xmlns='http://www.w3.org/2000/svg' width='0'/>",
        ] {
            assert!(matches!(Logo::parse(file.to_vec()), Err(NoLogo(_))), "{file:?}");
        }
        let huge = Pixmap::new(LOGO_SIDE_MAX + 1, 1).expect("has sides").encode_png().expect("encodes");
        assert!(matches!(Logo::parse(huge), Err(NoLogo(_))));
    }
}
