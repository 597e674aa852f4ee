//! `#[background_worker]`: the kind is picked from the options, the form from the function.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, Ident, ItemFn, LitInt, LitStr, Pat, Path, Result, Signature, Token, Type,
    TypeReference,
};

use crate::options::{
    self, PriorityValue, crate_path, duration_tokens, parse_duration, priority, unknown, value,
};
use crate::signature::{CONDITIONAL, bare, conditional, plain};
use crate::task::{function, hygienic};

const NAMES: [&str; 14] = [
    "interval",
    "delay",
    "delay_before",
    "missed",
    "queue",
    "bounded_queue",
    "priority_queue",
    "event",
    "looping",
    "process_result",
    "name",
    "priority",
    "handle",
    "crate",
];
const MISSED: [&str; 3] = ["burst", "skip", "delay"];

pub(crate) fn expand(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let function = match function(item, "#[background_worker]") {
        Ok(function) => function,
        Err(error) => return error,
    };
    let kept = if function.sig.receiver().is_some() { quote!() } else { quote!(#function) };
    let expanded = syn::parse2::<Settings>(attribute).and_then(|settings| {
        let parameters = Parameters::of(&function, settings.kind.has_items())?;
        settings.check(&function, &parameters)?;
        Ok(tokens(&settings, &function, &parameters))
    });
    match expanded {
        Ok(tokens) => quote!(#kept #tokens),
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#kept #error)
        }
    }
}

/// What makes it run.
#[derive(Default)]
enum Kind {
    #[default]
    Loop,
    Queue,
    Bounded(LitInt),
    Greatest,
    Event,
    Timed {
        every: Option<TokenStream>,
        spaced: Option<TokenStream>,
        first_after: Option<TokenStream>,
    },
}

impl Kind {
    fn has_items(&self) -> bool {
        matches!(self, Self::Queue | Self::Bounded(_) | Self::Greatest)
    }
}

/// What the attribute says.
#[derive(Default)]
struct Settings {
    kind: Kind,
    /// The option that said so.
    kind_said: Option<Ident>,
    missed: Option<Ident>,
    process_result: Option<Path>,
    name: Option<LitStr>,
    priority: Option<PriorityValue>,
    handle: Option<Ident>,
    krate: Option<Path>,
}

impl Parse for Settings {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut settings = Self::default();
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let option = input.call(Ident::parse_any)?;
            let text = option.to_string();
            if seen.contains(&text) {
                let message = format!("`{text}` is given twice; give it once");
                return Err(Error::new(option.span(), message));
            }
            settings.parse_one(&option, &text, input)?;
            seen.push(text);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(settings)
    }
}

impl Settings {
    fn parse_one(&mut self, option: &Ident, text: &str, input: ParseStream<'_>) -> Result<()> {
        match text {
            "interval" | "delay" | "delay_before" => self.parse_timing(option, text, input)?,
            "queue" => self.set_kind(option, Kind::Queue)?,
            "bounded_queue" => {
                let items = value(option, input, "bounded_queue = 100")?;
                self.set_kind(option, Kind::Bounded(items))?;
            }
            "priority_queue" => self.set_kind(option, Kind::Greatest)?,
            "event" => self.set_kind(option, Kind::Event)?,
            "looping" => self.set_kind(option, Kind::Loop)?,
            "missed" => {
                let policy: LitStr = value(option, input, "missed = \"burst\"")?;
                let wanted = policy.value();
                if !MISSED.contains(&wanted.as_str()) {
                    let message = unknown("policy", &wanted, &MISSED);
                    return Err(Error::new(policy.span(), message));
                }
                self.missed = Some(options::capitalised(&wanted, policy.span()));
            }
            "process_result" => {
                self.process_result = Some(value(option, input, "process_result = handle_result")?);
            }
            "name" => self.name = Some(value(option, input, "name = \"devices\"")?),
            "priority" => self.priority = Some(priority(option, input)?),
            "handle" => self.handle = Some(value(option, input, "handle = Name")?),
            "crate" => self.krate = Some(crate_path(option, input)?),
            _ => return Err(Error::new(option.span(), unknown("option", text, &NAMES))),
        }
        Ok(())
    }

    fn parse_timing(&mut self, option: &Ident, text: &str, input: ParseStream<'_>) -> Result<()> {
        let given: LitStr = value(option, input, &format!("{text} = \"1s\""))?;
        let duration = parse_duration(&given)?;
        if text == "interval" && duration.is_zero() {
            return Err(Error::new(
                given.span(),
                "an interval of zero is no interval; leave it out for a loop",
            ));
        }
        if !matches!(self.kind, Kind::Timed { .. }) {
            let kind = Kind::Timed { every: None, spaced: None, first_after: None };
            self.set_kind(option, kind)?;
        }
        let Kind::Timed { every, spaced, first_after } = &mut self.kind else {
            unreachable!("just set");
        };
        match text {
            "interval" => *every = Some(duration_tokens(duration)),
            "delay" => *spaced = Some(duration_tokens(duration)),
            _ => *first_after = Some(duration_tokens(duration)),
        }
        if every.is_some() && spaced.is_some() {
            return Err(Error::new(
                option.span(),
                "`interval` counts from start to start and `delay` from end to start; leave out one of them",
            ));
        }
        Ok(())
    }

    fn set_kind(&mut self, option: &Ident, kind: Kind) -> Result<()> {
        if let Some(other) = &self.kind_said {
            let message =
                format!("a background worker runs by one thing; leave out `{option}` or `{other}`");
            return Err(Error::new(option.span(), message));
        }
        self.kind = kind;
        self.kind_said = Some(option.clone());
        Ok(())
    }

    fn check(&self, function: &ItemFn, parameters: &Parameters) -> Result<()> {
        let has_interval = matches!(&self.kind, Kind::Timed { every: Some(_), .. });
        if let Some(missed) = self.missed.as_ref().filter(|_| !has_interval) {
            let message =
                "`missed` is about the ticks of an interval; give `interval`, or leave it out";
            return Err(Error::new(missed.span(), message));
        }
        if let (Some(path), Some(_)) = (&self.process_result, &function.sig.asyncness) {
            let message = "what runs in worker processes is a call that a plain `fn` returns; leave out `async`";
            return Err(Error::new(path.span(), message));
        }
        let named = self.process_result.as_ref().and_then(Path::get_ident);
        let is_named = |it: &&Parameter| match it {
            Parameter::Owned(ident, _) | Parameter::Lent(ident, _) => Some(ident) == named,
            Parameter::Run { .. } | Parameter::Item => false,
        };
        if let Some(name) = named.filter(|_| parameters.all.iter().any(|it| is_named(&it))) {
            let message = format!(
                "a parameter is called `{name}`, too; write `self::{name}` for the function"
            );
            return Err(Error::new(name.span(), message));
        }
        Ok(())
    }

    fn krate(&self) -> TokenStream {
        self.krate.as_ref().map_or_else(|| quote!(::atasker), |path| quote!(#path))
    }

    /// The builder of this kind.
    fn builder(&self) -> TokenStream {
        let krate = self.krate();
        let worker = quote!(#krate::BackgroundWorker);
        let timing = quote!(#krate::background::Timing);
        match &self.kind {
            Kind::Loop => quote!(#worker::looping()),
            Kind::Queue => quote!(#worker::queue()),
            Kind::Bounded(items) => quote!(#worker::bounded_queue(#items)),
            Kind::Greatest => quote!(#worker::priority_queue()),
            Kind::Event => quote!(#worker::on_event()),
            Kind::Timed { every, spaced, first_after } => {
                let pause = match (every, spaced, first_after) {
                    (Some(every), _, _) => quote!(every(#every)),
                    // Without either, the wait before a run is that before the first, too.
                    (_, Some(wait), _) | (_, _, Some(wait)) => quote!(spaced(#wait)),
                    _ => unreachable!("one of them made it timed"),
                };
                let first = first_after.as_ref().map(|wait| quote!(.first_after(#wait)));
                let missed = self
                    .missed
                    .as_ref()
                    .map(|policy| quote!(.missed(#krate::background::MissedTicks::#policy)));
                quote!(#worker::timed(#timing::#pause #first #missed))
            }
        }
    }
}

/// What the function takes.
#[derive(Default)]
struct Parameters {
    /// In the order of the function.
    all: Vec<Parameter>,
    item: Option<Type>,
}

enum Parameter {
    /// `&Run`, or `Run`.
    Run {
        borrowed: bool,
    },
    Item,
    /// Given to each run anew.
    Owned(Ident, Type),
    /// Lent to each run.
    Lent(Ident, Type),
}

impl Parameters {
    fn of(function: &ItemFn, has_items: bool) -> Result<Self> {
        let signature = &function.sig;
        if let Some(token) = &signature.unsafety {
            let message = "a background worker is called by the library, so it can't be `unsafe`; call the \
                           unsafe function from a safe one";
            return Err(Error::new(token.span(), message));
        }
        if let Some(generic) = signature.generics.params.first() {
            let message = "a background worker can't be generic; write one for each type that calls the \
                           generic function";
            return Err(Error::new(generic.span(), message));
        }
        let mut parameters = Self::default();
        for input in &signature.inputs {
            let parameter = parameters.one(input, has_items)?;
            parameters.all.push(parameter);
        }
        if has_items && parameters.item.is_none() {
            let message = "a queue worker takes the item as its first parameter, behind the `&Run` if it takes \
                           one; give it that parameter";
            return Err(Error::new(signature.ident.span(), message));
        }
        Ok(parameters)
    }

    fn one(&mut self, input: &FnArg, has_items: bool) -> Result<Parameter> {
        let typed = match input {
            FnArg::Receiver(receiver) => {
                let message = "a background worker is a free function; take what you need of `self` as a \
                               parameter, or implement `atasker::background::Background`";
                return Err(Error::new(receiver.span(), message));
            }
            FnArg::Typed(typed) => typed,
        };
        if let Some(attribute) = conditional(&typed.attrs) {
            return Err(Error::new_spanned(attribute, CONDITIONAL));
        }
        let declared = bare(&typed.ty);
        if let Some(borrowed) = is_run(declared) {
            return Ok(Parameter::Run { borrowed });
        }
        if has_items && self.item.is_none() {
            if let Type::Reference(reference) = declared {
                let message = "an item belongs to its run; take it by value";
                return Err(Error::new(reference.span(), message));
            }
            self.item = Some(declared.clone());
            return Ok(Parameter::Item);
        }
        let Pat::Ident(pattern) = &*typed.pat else {
            let message = "a background worker's parameters have names, by which they are given; name it, and \
                           take it apart inside";
            return Err(Error::new(typed.pat.span(), message));
        };
        let ident = pattern.ident.clone();
        match declared {
            Type::Reference(reference) if reference.mutability.is_some() => {
                let message = "a background worker can't change what its starter owns; take a `&Mutex<…>`, or \
                               implement `atasker::background::Background` for a type with state";
                Err(Error::new(reference.span(), message))
            }
            Type::Reference(reference) if is_elided(reference) => {
                Ok(Parameter::Lent(ident, (*reference.elem).clone()))
            }
            other => Ok(Parameter::Owned(ident, other.clone())),
        }
    }
}

fn is_elided(reference: &TypeReference) -> bool {
    reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident == "_")
}

/// Whether the type is `&Run` (true) or `Run` (false).
fn is_run(declared: &Type) -> Option<bool> {
    let (path, borrowed) = match declared {
        Type::Reference(reference) => (&*reference.elem, true),
        other => (other, false),
    };
    let Type::Path(path) = path else { return None };
    (path.path.segments.last()?.ident == "Run").then_some(borrowed)
}

fn tokens(settings: &Settings, function: &ItemFn, parameters: &Parameters) -> TokenStream {
    let krate = settings.krate();
    let name = &function.sig.ident;
    let handle = settings.handle.as_ref().unwrap_or(name);
    let visibility = &function.vis;
    let cfgs: Vec<_> = function.attrs.iter().filter(|it| it.path().is_ident("cfg")).collect();
    let item = parameters.item.as_ref().map_or_else(|| quote!(()), |item| quote!(#item));
    let is_async = function.sig.asyncness.is_some();
    let taken = parameters.all.iter().filter_map(|it| it.taken(&krate, is_async));
    let text = plain(name);
    let worker_name = settings.name.as_ref().map_or_else(|| quote!(#text), |name| quote!(#name));
    let priority = settings.priority.as_ref().map(|priority| {
        let priority = match priority {
            PriorityValue::Named(name) => quote!(#krate::Priority::#name),
            PriorityValue::Path(path) => quote!(#path),
        };
        quote!(.priority(#priority))
    });
    let builder = settings.builder();
    let run = run(settings, function, parameters, &krate);
    let invoke = invoke(function);
    let type_doc = format!(
        "The background worker [`{text}`](fn@{text}), to be made by [`worker`](Self::worker)."
    );
    let call_doc = format!(
        "Describes the background worker [`{text}`](fn@{text}). Nothing runs before it is started."
    );
    quote! {
        #(#cfgs)*
        #[doc = #type_doc]
        #[allow(non_camel_case_types, dead_code)]
        #visibility struct #handle {}

        #(#cfgs)*
        #[allow(dead_code, deprecated, private_interfaces, clippy::all, clippy::pedantic)]
        impl #handle {
            #[doc = #call_doc]
            #visibility fn worker(
                #(#taken),*
            ) -> #krate::background::BackgroundWorkerBuilder<#item, #krate::background::WithCode<#item>> {
                #builder.name(#worker_name) #priority #run
            }

            #invoke
        }
    }
}

impl Parameter {
    /// The parameter of `worker` for it.
    fn taken(&self, krate: &TokenStream, is_async: bool) -> Option<TokenStream> {
        let again = is_async.then(|| quote!(::core::clone::Clone+));
        match self {
            Self::Run { .. } | Self::Item => None,
            Self::Owned(ident, declared) => Some(quote!(#ident: #declared)),
            Self::Lent(ident, target) => Some(quote_spanned! {target.span()=>
                #ident: impl ::core::borrow::Borrow<#target> + #again
                    #krate::__private::GoesToThread + 'static
            }),
        }
    }

    /// For a future: a copy of its own.
    fn copied(&self, krate: &TokenStream) -> Option<TokenStream> {
        match self {
            Self::Owned(ident, declared) => Some(quote_spanned! {declared.span()=>
                let #ident = #krate::__private::each_run::<#declared>(&#ident);
            }),
            Self::Lent(ident, _) => {
                Some(quote!(let #ident = ::core::clone::Clone::clone(&#ident);))
            }
            Self::Run { .. } | Self::Item => None,
        }
    }

    /// What the function is given. `has_copies`: its variables may be used up.
    fn passed(&self, krate: &TokenStream, has_copies: bool) -> TokenStream {
        let (run, item) = (hygienic("run"), hygienic("item"));
        match self {
            Self::Run { borrowed: true } if has_copies => quote!(&#run),
            Self::Run { borrowed: false } if !has_copies => {
                quote!(::core::clone::Clone::clone(#run))
            }
            Self::Run { .. } => quote!(#run),
            Self::Item => quote!(#item),
            Self::Owned(ident, _) if has_copies => quote!(#ident),
            Self::Owned(ident, declared) => quote_spanned! {declared.span()=>
                #krate::__private::each_run::<#declared>(&#ident)
            },
            Self::Lent(ident, target) => quote!(::core::borrow::Borrow::<#target>::borrow(&#ident)),
        }
    }
}

/// The way to the function, whose name a parameter of `worker` may shadow.
fn invoke(function: &ItemFn) -> TokenStream {
    let Signature { asyncness, ident: name, inputs, output, .. } = &function.sig;
    let awaited = asyncness.map(|_| quote!(.await));
    let locals: Vec<_> =
        (0..inputs.len()).map(|position| hygienic(&format!("argument_{position}"))).collect();
    let declared = inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(&typed.ty),
        FnArg::Receiver(_) => None,
    });
    quote! {
        #[doc(hidden)]
        #asyncness fn __atasker_invoke(#(#locals: #declared),*) #output {
            #name(#(#locals),*) #awaited
        }
    }
}

/// `.run(…)` and its relatives.
fn run(
    settings: &Settings,
    function: &ItemFn,
    parameters: &Parameters,
    krate: &TokenStream,
) -> TokenStream {
    let is_async = function.sig.asyncness.is_some();
    let (run, item) = (hygienic("run"), hygienic("item"));
    let item = parameters.item.as_ref().map(|declared| quote!(#item: #declared,));
    let passed = parameters.all.iter().map(|it| it.passed(krate, is_async));
    let method = match (&item, is_async, &settings.process_result) {
        (None, false, None) => "run",
        (None, true, _) => "run_async",
        (None, false, Some(_)) => "run_process",
        (Some(_), false, None) => "for_each",
        (Some(_), true, _) => "for_each_async",
        (Some(_), false, Some(_)) => "for_each_process",
    };
    let method = Ident::new(method, Span::call_site());
    if is_async {
        let copied = parameters.all.iter().filter_map(|it| it.copied(krate));
        return quote! {
            .#method(move |#item #run: #krate::background::Run| {
                #(#copied)*
                async move { Self::__atasker_invoke(#(#passed),*).await }
            })
        };
    }
    let process_result = settings.process_result.as_ref().map(|path| quote!(, #path));
    quote! {
        .#method(move |#item #run: &#krate::background::Run| {
            Self::__atasker_invoke(#(#passed),*)
        } #process_result)
    }
}
