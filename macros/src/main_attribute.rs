//! `#[atasker::main]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, ReturnType};

use crate::task::function;

pub(crate) fn expand(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let function = match function(item, "#[atasker::main]") {
        Ok(function) => function,
        Err(error) => return error,
    };
    match check(attribute, &function) {
        Ok(krate) => tokens(&krate, &function),
        Err(error) => {
            // Without what was wrong, so that rustc does not complain about it too.
            let (name, visibility) = (&function.sig.ident, &function.vis);
            let error = error.into_compile_error();
            quote!(#visibility fn #name() { #error })
        }
    }
}

/// The path of the crate.
fn check(attribute: TokenStream, function: &ItemFn) -> Result<TokenStream, Error> {
    let options = syn::parse2::<MainOptions>(attribute)?;
    if !function.sig.inputs.is_empty() {
        return Err(Error::new_spanned(
            &function.sig.inputs,
            "`main` takes no parameters; read `std::env::args()`",
        ));
    }
    if !function.sig.generics.params.is_empty() {
        return Err(Error::new_spanned(&function.sig.generics, "`main` can't be generic"));
    }
    let (_, inner) = split_attributes(function);
    if function.sig.asyncness.is_some() && inner.is_empty() {
        return Err(Error::new_spanned(
            &function.sig,
            "an `async fn main` needs a runtime: put its attribute, such as `#[tokio::main]`, \
             below `#[atasker::main]`",
        ));
    }
    Ok(options.0)
}

fn tokens(krate: &TokenStream, function: &ItemFn) -> TokenStream {
    let (outer, inner) = split_attributes(function);
    let ItemFn { vis, sig, block, .. } = function;
    let name = &sig.ident;
    let output = match &sig.output {
        ReturnType::Default => quote!(),
        returned @ ReturnType::Type(..) => quote!(#returned),
    };
    quote! {
        #(#outer)*
        #vis fn #name() #output {
            #(#inner)*
            #sig #block

            #krate::worker::run_if_spawned();
            let returned = #name();
            #krate::__private::stop_default_supervisor();
            returned
        }
    }
}

/// The attributes that describe `main`, and those that change it: the latter go with the body.
fn split_attributes(function: &ItemFn) -> (Vec<&syn::Attribute>, Vec<&syn::Attribute>) {
    const OUTER: [&str; 7] = ["doc", "cfg", "allow", "expect", "warn", "deny", "forbid"];
    function
        .attrs
        .iter()
        .partition(|attribute| OUTER.iter().any(|name| attribute.path().is_ident(name)))
}

struct MainOptions(TokenStream);

impl syn::parse::Parse for MainOptions {
    fn parse(input: syn::parse::ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Ok(Self(quote!(::atasker)));
        }
        let span = input.span();
        crate::options::crate_option(input)
            .map(|path| Self(quote!(#path)))
            .map_err(|_| Error::new(span, "the only option here is `crate = path`"))
    }
}

/// Shared with `#[worker_init]`: an attribute whose only option is `crate = path`.
pub(crate) fn crate_path(attribute: TokenStream) -> Result<TokenStream, Error> {
    syn::parse2::<MainOptions>(attribute).map(|options| options.0)
}
