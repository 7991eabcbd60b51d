//! Texts that follow rules, as the document describes them: what a pattern lets through is accepted, but for what no pattern can tell.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type},
    },
};

use crate::domain::Scope;

/// A target that a request names.
pub struct TargetText;
pub struct EmailText;
pub struct CodeText;
pub struct TagText;
pub struct DescriptionText;
pub struct ScopeText;
/// No text, but told as one: what a picture is made of.
pub struct PictureBytes;

/// One line: no controls, no line or paragraph separators, nothing that turns the direction of writing.
const ONE_LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$";

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

macro_rules! described {
    ($($text:ty as $name:literal: $schema:expr;)*) => {
        $(
            impl PartialSchema for $text {
                fn schema() -> RefOr<Schema> {
                    $schema.build().into()
                }
            }

            impl ToSchema for $text {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed($name)
                }
            }
        )*
    };
}

described! {
    TargetText as "Target": text(r"^https://([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}(:[0-9]{1,4})?([/?#][!#-;=?-Z_a-z~]*)?$")
        .max_length(Some(2082))
        .description(Some(
            "An https address with a host name below a known public suffix, at most 2,082 bytes; no user name in it, no port that browsers refuse, no \
             private host, no other shortener or tracker, and not this service. Names beyond ASCII are written in punycode.",
        ))
        .examples(["https://www.iras.gov.sg/taxes"]);
    EmailText as "Email": text(r"^[A-Za-z0-9_+-]{1,30}(\.[A-Za-z0-9_+-]{1,30})?@([A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?\.){1,4}[A-Za-z]{2,20}$")
        .description(Some("An e-mail address; kept in lower case."))
        .examples(["amy@iras.gov.sg"]);
    CodeText as "Code": text("^[a-z0-9-]{1,255}$")
        .description(Some("What stands behind the slash of a short link: small letters, digits and hyphens."))
        .examples(["iras-tax"]);
    TagText as "Tag": text("^[A-Za-z0-9_-]{1,25}$")
        .description(Some("Groups links. Kept as written, and compared without regard to case."))
        .examples(["tax"]);
    DescriptionText as "Description": text(ONE_LINE)
        .max_length(Some(200))
        .description(Some("One line, at most 200 characters. Citizens read it when the link is switched off."))
        .examples(["Income tax for individuals"]);
    PictureBytes as "Picture": ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
        .description(Some("The picture's bytes."));
    ScopeText as "Scope": ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(Scope::ALL.map(Scope::as_str)))
        .description(Some("What a key may do. `admin`: see and change the links of others, if its owner is an administrator."));
}
