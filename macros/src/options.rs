//! The options on `#[task(…)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitInt, LitStr, Path, Result, Token, parenthesized, token};

use crate::duration;

const NAMES: [&str; 15] = [
    "io",
    "priority",
    "timeout",
    "soft_timeout",
    "cpu_limit",
    "queue_timeout",
    "delay",
    "retries",
    "retry_on",
    "backoff",
    "crash_limit",
    "memory_limit",
    "label",
    "handle",
    "crate",
];

const PRIORITIES: [&str; 4] = ["low", "normal", "high", "critical"];
const RETRY_KINDS: [&str; 4] = ["crash", "timeout", "panic", "error"];

/// What the attribute says.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) io: bool,
    pub(crate) handle: Option<Ident>,
    pub(crate) krate: Option<Path>,
    pub(crate) retries: u32,
    /// `.timeout(…)` and so on, to be appended to `Declared::DEFAULT`. The crate's path stands in them as
    /// [`CRATE`].
    declared: Vec<Setting>,
}

enum Setting {
    Priority(PriorityValue),
    Duration(&'static str, std::time::Duration),
    Retries(u32),
    CrashLimit(u32),
    MemoryLimit(u64),
    RetryOn(Vec<Ident>),
    Backoff(std::time::Duration, Option<std::time::Duration>),
    Label(LitStr),
}

pub(crate) enum PriorityValue {
    Named(Ident),
    Path(Path),
}

impl Options {
    /// The path of the crate.
    pub(crate) fn krate(&self) -> TokenStream {
        self.krate.as_ref().map_or_else(|| quote!(::atasker), ToTokens::to_token_stream)
    }

    /// A constant expression of type `Declared`.
    pub(crate) fn declared(&self) -> TokenStream {
        let krate = self.krate();
        let settings = self.declared.iter().map(|setting| setting.tokens(&krate));
        quote!(#krate::__private::Declared::DEFAULT #(#settings)*)
    }
}

impl Setting {
    fn tokens(&self, krate: &TokenStream) -> TokenStream {
        match self {
            Self::Priority(PriorityValue::Named(name)) => {
                quote!(.priority(#krate::Priority::#name))
            }
            Self::Priority(PriorityValue::Path(path)) => quote!(.priority(#path)),
            Self::Duration(name, duration) => {
                let name = Ident::new(name, Span::call_site());
                let duration = duration_tokens(*duration);
                quote!(.#name(#duration))
            }
            Self::Retries(retries) => quote!(.retries(#retries)),
            Self::MemoryLimit(bytes) => quote!(.memory_limit(#bytes)),
            Self::CrashLimit(limit) => quote!(.crash_limit(#limit)),
            Self::RetryOn(kinds) => quote!(.retry_on(&[#(#krate::RetryOn::#kinds),*])),
            Self::Backoff(wait, None) => {
                let wait = duration_tokens(*wait);
                quote!(.backoff(#krate::Backoff::fixed(#wait)))
            }
            Self::Backoff(initial, Some(max)) => {
                let (initial, max) = (duration_tokens(*initial), duration_tokens(*max));
                quote!(.backoff(#krate::Backoff::exponential(#initial, #max)))
            }
            Self::Label(label) => quote!(.label(#label)),
        }
    }
}

pub(crate) fn duration_tokens(duration: std::time::Duration) -> TokenStream {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let name = input.call(Ident::parse_any)?;
            let text = name.to_string();
            if seen.contains(&text) {
                return Err(Error::new(
                    name.span(),
                    format!("`{text}` is given twice; give it once"),
                ));
            }
            options.parse_one(&name, &text, input)?;
            seen.push(text);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn parse_one(&mut self, name: &Ident, text: &str, input: ParseStream<'_>) -> Result<()> {
        match text {
            "io" => self.io = true,
            "handle" => self.handle = Some(value(name, input, "handle = Name")?),
            "crate" => self.krate = Some(crate_path(name, input)?),
            "priority" => self.declared.push(Setting::Priority(priority(name, input)?)),
            "timeout" => self.push_duration("timeout", name, input)?,
            "soft_timeout" => self.push_duration("soft_timeout", name, input)?,
            "cpu_limit" => self.push_duration("cpu_limit", name, input)?,
            "queue_timeout" => self.push_duration("queue_timeout", name, input)?,
            "delay" => self.push_duration("delay", name, input)?,
            "retries" => {
                let number: LitInt = value(name, input, "retries = 2")?;
                self.retries = number.base10_parse()?;
                self.declared.push(Setting::Retries(self.retries));
            }
            "crash_limit" => {
                let number: LitInt = value(name, input, "crash_limit = 3")?;
                let limit = number.base10_parse()?;
                if limit == 0 {
                    return Err(Error::new(number.span(), "a task can't crash less than once"));
                }
                self.declared.push(Setting::CrashLimit(limit));
            }
            "memory_limit" => {
                let bytes: LitInt = value(name, input, "memory_limit = 100_000_000")?;
                self.declared.push(Setting::MemoryLimit(bytes.base10_parse()?));
            }
            "retry_on" => self.declared.push(Setting::RetryOn(retry_on(name, input)?)),
            "backoff" => self.declared.push(backoff(name, input)?),
            "label" => {
                self.declared.push(Setting::Label(value(name, input, "label = \"nightly\"")?));
            }
            _ => return Err(Error::new(name.span(), unknown("option", text, &NAMES))),
        }
        Ok(())
    }

    fn push_duration(
        &mut self,
        option: &'static str,
        name: &Ident,
        input: ParseStream<'_>,
    ) -> Result<()> {
        let text: LitStr = value(name, input, &format!("{option} = \"30s\""))?;
        self.declared.push(Setting::Duration(option, parse_duration(&text)?));
        Ok(())
    }
}

/// What stands behind `name =`.
pub(crate) fn value<T: Parse>(name: &Ident, input: ParseStream<'_>, example: &str) -> Result<T> {
    if !input.peek(Token![=]) {
        return Err(Error::new(name.span(), format!("give `{name}` a value: `{example}`")));
    }
    input.parse::<Token![=]>()?;
    let span = input.span();
    input.parse().map_err(|_| Error::new(span, format!("write it like this: `{example}`")))
}

/// `crate = path`, for attributes that have no other option.
pub(crate) fn crate_option(input: ParseStream<'_>) -> Result<Path> {
    input.parse::<Token![crate]>()?;
    input.parse::<Token![=]>()?;
    input.call(Path::parse_mod_style)
}

pub(crate) fn crate_path(name: &Ident, input: ParseStream<'_>) -> Result<Path> {
    if !input.peek(Token![=]) {
        return Err(Error::new(name.span(), "give `crate` a value: `crate = path`"));
    }
    input.parse::<Token![=]>()?;
    // `crate = crate::reexported` begins with a keyword.
    input.call(Path::parse_mod_style)
}

pub(crate) fn priority(name: &Ident, input: ParseStream<'_>) -> Result<PriorityValue> {
    const EXAMPLE: &str = "priority = \"high\"";
    let looks_like_path = {
        let ahead = input.fork();
        ahead.parse::<Token![=]>().is_ok() && ahead.parse::<Path>().is_ok()
    };
    if looks_like_path {
        return value(name, input, EXAMPLE).map(PriorityValue::Path);
    }
    let text: LitStr = value(name, input, EXAMPLE)?;
    let wanted = text.value().to_lowercase();
    if PRIORITIES.contains(&wanted.as_str()) {
        Ok(PriorityValue::Named(capitalised(&wanted, text.span())))
    } else {
        Err(Error::new(text.span(), unknown("priority", &text.value(), &PRIORITIES)))
    }
}

fn retry_on(name: &Ident, input: ParseStream<'_>) -> Result<Vec<Ident>> {
    if !input.peek(token::Paren) {
        return Err(Error::new(name.span(), "write it like this: `retry_on(crash, timeout)`"));
    }
    let content;
    parenthesized!(content in input);
    let kinds = Punctuated::<Ident, Token![,]>::parse_terminated(&content)?;
    if kinds.is_empty() {
        let message = format!("name at least one of {}", listed(&RETRY_KINDS));
        return Err(Error::new(name.span(), message));
    }
    kinds
        .into_iter()
        .map(|kind| {
            let text = kind.to_string();
            if RETRY_KINDS.contains(&text.as_str()) {
                Ok(capitalised(&text, kind.span()))
            } else {
                Err(Error::new(kind.span(), unknown("way to fail", &text, &RETRY_KINDS)))
            }
        })
        .collect()
}

fn backoff(name: &Ident, input: ParseStream<'_>) -> Result<Setting> {
    if !input.peek(token::Paren) {
        let text: LitStr = value(name, input, "backoff = \"100ms\"")?;
        return Ok(Setting::Backoff(parse_duration(&text)?, None));
    }
    let content;
    parenthesized!(content in input);
    let texts = Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?;
    let texts: Vec<_> = texts.iter().collect();
    let [initial, max] = texts[..] else {
        return Err(Error::new(
            name.span(),
            "give the first wait and the longest: `backoff(\"100ms\", \"5s\")`",
        ));
    };
    let (initial, longest) = (parse_duration(initial)?, parse_duration(max)?);
    if longest < initial {
        return Err(Error::new(
            max.span(),
            "the longest wait is shorter than the first; swap them",
        ));
    }
    Ok(Setting::Backoff(initial, Some(longest)))
}

pub(crate) fn parse_duration(text: &LitStr) -> Result<std::time::Duration> {
    duration::parse(&text.value()).ok_or_else(|| {
        Error::new(
            text.span(),
            format!("`{}` is no duration: {}", text.value(), duration::ACCEPTED),
        )
    })
}

pub(crate) fn capitalised(text: &str, span: Span) -> Ident {
    let (first, rest) = text.split_at(1);
    Ident::new(&(first.to_uppercase() + rest), span)
}

pub(crate) fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|name| (distance(given, name), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| format!("; did you mean `{name}`?"));
    match near {
        Some(near) => format!("unknown {what} `{given}`{near} There are {}", listed(known)),
        None => format!("unknown {what} `{given}`; there are {}", listed(known)),
    }
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match &quoted[..] {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => quoted.join(", "),
    }
}

/// How many letters must be changed, put in or taken out to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<_> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
