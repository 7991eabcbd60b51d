//! The kinds of refusals of v2: a name that programs match on, a status, and what to do about it.

use actix_web::http::StatusCode;

/// A kind of refusal. Names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Malformed,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    BodyTimeout,
    CodeTaken,
    InProgress,
    NotReplayed,
    Stale,
    BodyTooLarge,
    UnsupportedMediaType,
    Validation,
    KeyReused,
    BatchRefused,
    RateLimited,
    IdempotencyQuota,
    Damaged,
    Unavailable,
    Overloaded,
}

/// What is said of a kind.
struct Entry {
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    advice: &'static str,
}

impl Kind {
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::CodeTaken,
        Self::InProgress,
        Self::NotReplayed,
        Self::Stale,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::Validation,
        Self::KeyReused,
        Self::BatchRefused,
        Self::RateLimited,
        Self::IdempotencyQuota,
        Self::Damaged,
        Self::Unavailable,
        Self::Overloaded,
    ];

    /// The last part of its `type`.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    pub fn status(self) -> StatusCode {
        self.entry().status
    }

    pub fn title(self) -> &'static str {
        self.entry().title
    }

    /// What to do about it: the text of its page.
    pub fn advice(self) -> &'static str {
        self.entry().advice
    }

    fn entry(self) -> &'static Entry {
        match self {
            Self::Malformed => &MALFORMED,
            Self::Unauthorized => &UNAUTHORIZED,
            Self::Forbidden => &FORBIDDEN,
            Self::NotFound => &NOT_FOUND,
            Self::MethodNotAllowed => &METHOD_NOT_ALLOWED,
            Self::BodyTimeout => &BODY_TIMEOUT,
            Self::CodeTaken => &CODE_TAKEN,
            Self::InProgress => &IN_PROGRESS,
            Self::NotReplayed => &NOT_REPLAYED,
            Self::Stale => &STALE,
            Self::BodyTooLarge => &BODY_TOO_LARGE,
            Self::UnsupportedMediaType => &UNSUPPORTED_MEDIA_TYPE,
            Self::Validation => &VALIDATION,
            Self::KeyReused => &KEY_REUSED,
            Self::BatchRefused => &BATCH_REFUSED,
            Self::RateLimited => &RATE_LIMITED,
            Self::IdempotencyQuota => &IDEMPOTENCY_QUOTA,
            Self::Damaged => &DAMAGED,
            Self::Unavailable => &UNAVAILABLE,
            Self::Overloaded => &OVERLOADED,
        }
    }
}

static MALFORMED: Entry = Entry {
    name: "malformed",
    status: StatusCode::BAD_REQUEST,
    title: "The request can't be read",
    advice: "The body isn't JSON, or isn't UTF-8, or broke off. Compare what was sent with an example of the documentation.",
};

static UNAUTHORIZED: Entry = Entry {
    name: "unauthorized",
    status: StatusCode::UNAUTHORIZED,
    title: "A valid API key is needed",
    advice: "Send the header \"Authorization: Bearer <key>\". Keys begin with mlk_. A key stops working when it is revoked or expires, \
             when the key that made it is revoked, and when its officer may no longer use this service.",
};

static FORBIDDEN: Entry = Entry {
    name: "forbidden",
    status: StatusCode::FORBIDDEN,
    title: "The API key may not do this",
    advice: "The key lacks a scope, or its owner isn't an administrator. Which scope is needed is said in \"detail\"; a key's scopes are \
             answered by GET /api/v2/me and can't be changed: make another key.",
};

static NOT_FOUND: Entry = Entry {
    name: "not-found",
    status: StatusCode::NOT_FOUND,
    title: "There is no such thing here",
    advice: "The address is wrong, or what it names isn't yours to see. Only administrators see the links of others.",
};

static METHOD_NOT_ALLOWED: Entry = Entry {
    name: "method-not-allowed",
    status: StatusCode::METHOD_NOT_ALLOWED,
    title: "This address doesn't take this method",
    advice: "The header \"Allow\" says which methods it takes.",
};

static BODY_TIMEOUT: Entry = Entry {
    name: "body-timeout",
    status: StatusCode::REQUEST_TIMEOUT,
    title: "The body took too long to arrive",
    advice: "A body has to arrive within five seconds. Send it again over a better line, or send less at once.",
};

static CODE_TAKEN: Entry = Entry {
    name: "code-taken",
    status: StatusCode::CONFLICT,
    title: "The code is taken",
    advice: "Somebody has or once had a link with this code, or it is a word that the service needs. A code is never given to a second \
             link. Choose another, or leave it out and get a random one.",
};

static IN_PROGRESS: Entry = Entry {
    name: "in-progress",
    status: StatusCode::CONFLICT,
    title: "The first request with this Idempotency-Key is still running",
    advice: "Wait for as long as \"Retry-After\" says, and send the same request again: it will be answered as the first was.",
};

static NOT_REPLAYED: Entry = Entry {
    name: "not-replayed",
    status: StatusCode::CONFLICT,
    title: "A request with this Idempotency-Key was answered already",
    advice: "The first answer held a secret, which is shown once and not kept. If you didn't get it, revoke the key that the first \
             request made, and make another one with a new Idempotency-Key.",
};

static STALE: Entry = Entry {
    name: "stale",
    status: StatusCode::PRECONDITION_FAILED,
    title: "The link has changed meanwhile",
    advice: "\"If-Match\" named a version that isn't the link's any more. Read the link again, look at what changed, and send your \
             change with its new ETag.",
};

static BODY_TOO_LARGE: Entry = Entry {
    name: "body-too-large",
    status: StatusCode::PAYLOAD_TOO_LARGE,
    title: "The body is too large",
    advice: "What is allowed is said in \"detail\". Send a batch in several requests.",
};

static UNSUPPORTED_MEDIA_TYPE: Entry = Entry {
    name: "unsupported-media-type",
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    title: "The body's media type isn't taken here",
    advice: "Send the header \"Content-Type\" with one of the types that \"detail\" names, and the body without compression: there is no \
             \"Content-Encoding\" here.",
};

static VALIDATION: Entry = Entry {
    name: "validation",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "The request has mistakes",
    advice: "\"errors\" lists them, at most 100, and in a batch 20 a row and 1,000 in all; \"errors_omitted\" counts those \
             beyond. Each has a JSON pointer to its place in the body, or the name of its parameter. Nothing was changed.",
};

static KEY_REUSED: Entry = Entry {
    name: "idempotency-key-reused",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "This Idempotency-Key belongs to another request",
    advice: "The same key was sent with another body or to another address in the last 24 hours. Use a new key for each request that you \
             mean anew, and the same one only to repeat a request that may have got lost.",
};

static BATCH_REFUSED: Entry = Entry {
    name: "batch-refused",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "Nothing was created",
    advice: "With atomic=true a batch is created whole or not at all. \"results\" says which rows have mistakes.",
};

static RATE_LIMITED: Entry = Entry {
    name: "rate-limited",
    status: StatusCode::TOO_MANY_REQUESTS,
    title: "Too many requests",
    advice: "Each key has so many requests a minute, as \"RateLimit-Limit\" says. Wait for as long as \"Retry-After\" says; create many \
             links with one POST /api/v2/batch. Bodies that are being sent at the same moment from one address, or by one officer, may together \
             have 16 MiB, or what the operator allows: send batches one after the other.",
};

static IDEMPOTENCY_QUOTA: Entry = Entry {
    name: "idempotency-quota",
    status: StatusCode::TOO_MANY_REQUESTS,
    title: "Too much is kept for your Idempotency-Keys",
    advice: "Nothing was done. The answer to each request with an Idempotency-Key is kept for 24 hours, and the answers of one officer may \
             take 32 MiB, or what the operator allows. Send the request without an Idempotency-Key, or wait for as long as \
             \"Retry-After\" says. The answer to one batch takes less than those to its rows one by one. Requests that were answered are \
             replayed as before.",
};

static DAMAGED: Entry = Entry {
    name: "damaged",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    title: "What is stored can't be read",
    advice: "Another program wrote to the store, or a later version of this one. Nothing was changed. Sending the request again is of no \
             use before the operators have mended it: tell them the \"request_id\". Whatever else is stored goes on working.",
};

static UNAVAILABLE: Entry = Entry {
    name: "unavailable",
    status: StatusCode::SERVICE_UNAVAILABLE,
    title: "The service can't reach its store",
    advice: "It isn't known yet whether a change was made: one that was refused may still take effect seconds later. Send the same request \
             again after \"Retry-After\", with the same Idempotency-Key or the same If-Match, until the answer is another: it then tells \
             what became of the change, and nothing is done twice. Don't send it with a new Idempotency-Key, and don't take it for \
             undone. Without either header, read the link first. Short links go on working meanwhile.",
};

static OVERLOADED: Entry = Entry {
    name: "overloaded",
    status: StatusCode::SERVICE_UNAVAILABLE,
    title: "The service has too much to do",
    advice: "Nothing was done. Batches and exports wait for one another, and give way to everything else. Send the request again after \
             \"Retry-After\".",
};
