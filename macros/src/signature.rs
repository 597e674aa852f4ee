//! What a function must look like to be a task, and what its parameters are.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::visit::{self, Visit};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, Ident, ItemFn, Lit, Pat,
    PathArguments, ReturnType, Type, TypeGroup, TypeParen, TypeReference,
};

use crate::text;

/// A function that can be a task.
pub(crate) struct Function {
    pub(crate) item: ItemFn,
    pub(crate) runs: Runs,
    pub(crate) parameters: Vec<Parameter>,
    /// `()` where none is written.
    pub(crate) output: Type,
}

/// Where a task runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    InWorker,
    OnThread,
    OnLoop,
}

impl Runs {
    fn of(item: &ItemFn, io: bool) -> Self {
        match (&item.sig.asyncness, io) {
            (Some(_), _) => Self::OnLoop,
            (None, true) => Self::OnThread,
            (None, false) => Self::InWorker,
        }
    }
}

pub(crate) struct Parameter {
    pub(crate) ident: Ident,
    /// As declared.
    pub(crate) declared: Type,
    pub(crate) passing: Passing,
}

/// How a function takes an argument.
pub(crate) enum Passing {
    Owned,
    /// `&T`: the type `T`.
    Borrowed(Type),
    /// `Option<&T>`: the type `T`.
    BorrowedOption(Type),
}

impl Function {
    /// Check the function; every mistake is reported, each once.
    pub(crate) fn new(item: ItemFn, io: bool) -> Result<Self, Error> {
        let mut errors = Errors::default();
        let runs = Runs::of(&item, io);
        check_async(&item, io, cfg!(feature = "async"), &mut errors);
        check_head(&item, &mut errors);
        let here = runs != Runs::InWorker;
        let parameters = item.sig.inputs.iter();
        let parameters =
            parameters.filter_map(|input| parameter(input, here, &mut errors)).collect();
        let output = match &item.sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, output) => (**output).clone(),
        };
        check_output(&output, &mut errors);
        errors.finish()?;
        Ok(Self { item, runs, parameters, output })
    }

    pub(crate) fn name(&self) -> &Ident {
        &self.item.sig.ident
    }

    /// Its `#[cfg]`s, which everything that is generated must have too.
    pub(crate) fn cfgs(&self) -> Vec<&Attribute> {
        self.item.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect()
    }

    /// `thumbnail(path: &Path, size: u32) -> TaskResult<Vec<u8>>`
    pub(crate) fn signature_text(&self) -> String {
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|parameter| format!("{}: {}", parameter.name(), parameter.type_text()))
            .collect();
        let mut signature = format!("{}({})", plain(self.name()), parameters.join(", "));
        if let ReturnType::Type(_, output) = &self.item.sig.output {
            signature += " -> ";
            signature += &text::of(output);
        }
        signature
    }

    /// The doc comment without its indentation.
    pub(crate) fn docs(&self) -> String {
        let lines: Vec<String> = self.item.attrs.iter().filter_map(doc_line).collect();
        let text = lines.join("\n");
        let indentation = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.len() - line.trim_start().len())
            .min()
            .unwrap_or(0);
        let lines: Vec<_> =
            text.lines().map(|line| line.get(indentation..).unwrap_or("").trim_end()).collect();
        lines.join("\n").trim_matches('\n').to_owned()
    }
}

impl Parameter {
    /// Without `r#`.
    pub(crate) fn name(&self) -> String {
        plain(&self.ident)
    }

    pub(crate) fn type_text(&self) -> String {
        text::of(&self.declared)
    }

    /// The type whose values cross: the declared one, or what it is a reference to.
    pub(crate) fn crossing_type(&self) -> &Type {
        match &self.passing {
            Passing::Owned => &self.declared,
            Passing::Borrowed(target) | Passing::BorrowedOption(target) => target,
        }
    }

    /// The declared type as the type of a parameter of `call`.
    pub(crate) fn in_call(&self) -> TokenStream {
        let (ident, declared) = (&self.ident, &self.declared);
        quote!(#ident: #declared)
    }
}

/// A type without parentheses, and without the group in which `macro_rules!` hands it on.
pub(crate) fn bare(mut declared: &Type) -> &Type {
    while let Type::Paren(TypeParen { elem, .. }) | Type::Group(TypeGroup { elem, .. }) = declared {
        declared = elem;
    }
    declared
}

/// A name without `r#`.
pub(crate) fn plain(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

/// What is said of a parameter that is there under a condition: an attribute does not learn whether it holds.
pub(crate) const CONDITIONAL: &str = "a parameter is there or not for its caller, too; put the `#[cfg]` on the function, and \
     write one for each case";

pub(crate) fn conditional(attributes: &[Attribute]) -> Option<&Attribute> {
    attributes.iter().find(|it| it.path().is_ident("cfg") || it.path().is_ident("cfg_attr"))
}

#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn push(&mut self, at: impl ToTokens, message: impl std::fmt::Display) {
        let error = Error::new_spanned(at, message);
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn finish(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

fn check_async(item: &ItemFn, io: bool, has_loops: bool, errors: &mut Errors) {
    let Some(token) = &item.sig.asyncness else {
        return;
    };
    if !has_loops {
        errors.push(
            token,
            "an `async fn` runs on an async loop, which needs the feature `async` of the crate `atasker`; turn it \
             on, or make it a plain `fn`",
        );
    } else if io {
        errors.push(
            token,
            "an `async fn` runs on an async loop, not on the thread pool; leave out `io`, or make it a plain `fn`",
        );
    }
}

fn check_head(item: &ItemFn, errors: &mut Errors) {
    let signature = &item.sig;
    if let Some(token) = &signature.unsafety {
        errors.push(
            token,
            "a task is called with arguments from elsewhere, so it can't be `unsafe`; \
             call the unsafe function from a safe one that checks them",
        );
    }
    if let Some(abi) = &signature.abi {
        errors.push(
            abi,
            "a task has Rust's calling convention; call this function from a plain `fn`",
        );
    }
    if let Some(variadic) = &signature.variadic {
        errors.push(variadic, "a task has a fixed number of parameters; take a `Vec`");
    }
    if let Some(lifetime) = signature.generics.lifetimes().next() {
        errors.push(
            lifetime,
            format!(
                "leave out the lifetime `{}`: what a task borrows, it borrows for the call only",
                lifetime.lifetime
            ),
        );
    }
    let generic =
        signature.generics.params.iter().find(|p| !matches!(p, syn::GenericParam::Lifetime(_)));
    if let Some(generic) = generic {
        errors.push(
            generic,
            "a task is found by its name, so it can't be generic; \
             write a task for each type that calls the generic function",
        );
    }
}

fn check_output(output: &Type, errors: &mut Errors) {
    let mut finder = Finder { static_is_owned: true, ..Finder::default() };
    finder.visit_type(output);
    if let Some(found) = finder.impl_trait {
        errors.push(found, "a task returns a type that has a name; write it out, or box it");
    } else if let Some(found) = finder.borrow {
        errors.push(
            found,
            "a task can't return a borrow, because its caller is elsewhere; \
             return an owned value (`String` for `&str`, `Vec<T>` for `&[T]`)",
        );
    }
}

fn parameter(input: &FnArg, here: bool, errors: &mut Errors) -> Option<Parameter> {
    let typed = match input {
        FnArg::Receiver(receiver) => {
            errors.push(
                receiver,
                "a task is a free function; take what you need of `self` as a parameter",
            );
            return None;
        }
        FnArg::Typed(typed) => typed,
    };
    if let Some(attribute) = conditional(&typed.attrs) {
        errors.push(attribute, CONDITIONAL);
        return None;
    }
    let ident = match &*typed.pat {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            pattern.ident.clone()
        }
        pattern => {
            errors.push(
                pattern,
                "a task's parameters have names, by which they can be given; \
                 name it, and take it apart inside",
            );
            return None;
        }
    };
    let declared = bare(&typed.ty).clone();
    let passing = passing(&declared, here, errors)?;
    Some(Parameter { ident, declared, passing })
}

/// How a parameter of this type is taken; what stands inside it must not borrow. `here`: the task runs in this
/// process, so that what is static is there.
fn passing(declared: &Type, here: bool, errors: &mut Errors) -> Option<Passing> {
    match declared {
        Type::Reference(reference) if here && is_static(reference) => Some(Passing::Owned),
        Type::Reference(reference) => {
            target(reference, errors).map(|target| Passing::Borrowed(target.clone()))
        }
        other => match option_of_reference(other) {
            Some(reference) if here && is_static(reference) => Some(Passing::Owned),
            Some(reference) => {
                target(reference, errors).map(|target| Passing::BorrowedOption(target.clone()))
            }
            None => check_inside(other, here, errors).then_some(Passing::Owned),
        },
    }
}

/// What a reference refers to.
fn target<'a>(reference: &'a TypeReference, errors: &mut Errors) -> Option<&'a Type> {
    if let Some(token) = &reference.mutability {
        errors.push(
            token,
            "a task can't change what its caller owns; take it by value and return it",
        );
        return None;
    }
    if is_static(reference) {
        errors.push(
            &reference.lifetime,
            "what a task borrows lives for the call only; leave out `'static`",
        );
        return None;
    }
    check_inside(&reference.elem, false, errors).then_some(&reference.elem)
}

/// Whether a type has a name and borrows nothing. (`static_is_owned`: but for `'static`.)
fn check_inside(inner: &Type, static_is_owned: bool, errors: &mut Errors) -> bool {
    let mut finder = Finder { static_is_owned, ..Finder::default() };
    finder.visit_type(inner);
    if let Some(found) = finder.impl_trait {
        errors.push(
            found,
            "a task is found by its name, so it can't be generic; take a type that has a name",
        );
        false
    } else if let Some(found) = finder.borrow {
        errors.push(
            found,
            "a task borrows by `&T` or `Option<&T>`, and nothing inside them; take an owned type here",
        );
        false
    } else {
        true
    }
}

fn is_static(reference: &TypeReference) -> bool {
    reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
}

/// The reference in `Option<&T>`.
fn option_of_reference(declared: &Type) -> Option<&TypeReference> {
    let Type::Path(path) = declared else {
        return None;
    };
    let segment = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    let GenericArgument::Type(argument) = arguments.args.first()? else {
        return None;
    };
    match bare(argument) {
        Type::Reference(reference) if segment.ident == "Option" => Some(reference),
        _ => None,
    }
}

/// Looks for what a type that crosses can't have inside.
#[derive(Default)]
struct Finder {
    static_is_owned: bool,
    impl_trait: Option<TokenStream>,
    borrow: Option<TokenStream>,
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_type_impl_trait(&mut self, found: &'ast syn::TypeImplTrait) {
        self.impl_trait.get_or_insert_with(|| found.to_token_stream());
    }

    fn visit_type_reference(&mut self, found: &'ast TypeReference) {
        if self.static_is_owned && is_static(found) {
            visit::visit_type(self, &found.elem);
        } else {
            self.borrow.get_or_insert_with(|| found.to_token_stream());
        }
    }

    fn visit_lifetime(&mut self, found: &'ast syn::Lifetime) {
        // A `dyn Trait + 'static` borrows nothing either way.
        if found.ident != "static" {
            self.borrow.get_or_insert_with(|| found.to_token_stream());
        }
    }

    fn visit_type_bare_fn(&mut self, _: &'ast syn::TypeBareFn) {
        // References in the type of a function pointer are not borrowed by the pointer.
    }

    fn visit_parenthesized_generic_arguments(
        &mut self,
        _: &'ast syn::ParenthesizedGenericArguments,
    ) {
        // Nor in `Fn(&str)`.
    }
}

/// The text of a `#[doc = "…"]`.
fn doc_line(attribute: &Attribute) -> Option<String> {
    if !attribute.path().is_ident("doc") {
        return None;
    }
    match &attribute.meta.require_name_value().ok()?.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_loops_an_async_task_names_the_feature() {
        let item: ItemFn = syn::parse_quote!(
            async fn poll(id: u32) -> u32 {
                id
            }
        );
        for has_loops in [false, true] {
            let mut errors = Errors::default();
            check_async(&item, false, has_loops, &mut errors);
            let message = errors.finish().err().map(|error| error.to_string());
            assert_eq!(message.is_none(), has_loops);
            assert!(message.is_none_or(|message| message.contains("feature `async`")));
        }
    }
}
