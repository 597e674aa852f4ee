//! `#[task]`: what both kinds of tasks expand to.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Error, Ident, Item, ItemFn};

use crate::options::Options;
use crate::signature::{Function, Parameter, Runs, plain};
use crate::{expand_here, expand_process};

pub(crate) fn expand(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let function = match function(item, "#[task]") {
        Ok(function) => function,
        Err(error) => return error,
    };
    // A function with a receiver is none outside of an impl: leaving it in would add an error of rustc's.
    let kept = if function.sig.receiver().is_some() { quote!() } else { quote!(#function) };
    let expanded = syn::parse2::<Options>(attribute).and_then(|options| {
        let function = Function::new(function, options.io)?;
        Ok(Task::new(function, options).tokens())
    });
    match expanded {
        Ok(tokens) => quote!(#kept #tokens),
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#kept #error)
        }
    }
}

/// The function on which an attribute stands, or the error and the item as it is.
pub(crate) fn function(item: &TokenStream, attribute: &str) -> Result<ItemFn, TokenStream> {
    match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Fn(function)) => Ok(function),
        Ok(other) => {
            let error =
                Error::new(other.span(), format!("`{attribute}` stands on a free function"));
            let error = error.into_compile_error();
            Err(quote!(#item #error))
        }
        Err(error) => Err(error.into_compile_error()),
    }
}

/// What is known of a task when it is expanded.
pub(crate) struct Task {
    pub(crate) function: Function,
    pub(crate) options: Options,
    /// The type with `call`.
    pub(crate) handle: Ident,
    /// The private type that stands for the function and its parameters.
    pub(crate) helper: Ident,
    /// `::atasker::__private`
    pub(crate) private: TokenStream,
}

impl Task {
    fn new(function: Function, options: Options) -> Self {
        let handle = options.handle.clone().unwrap_or_else(|| function.name().clone());
        let helper = format_ident!("__atasker_{}", plain(function.name()));
        let krate = options.krate();
        Self { function, options, handle, helper, private: quote!(#krate::__private) }
    }

    fn tokens(&self) -> TokenStream {
        let (kind, body) = match self.function.runs {
            Runs::InWorker => (expand_process::tokens(self), expand_process::call_body(self)),
            Runs::OnThread | Runs::OnLoop => {
                (expand_here::tokens(self), expand_here::call_body(self))
            }
        };
        let Self { handle, helper, .. } = self;
        let cfgs = self.function.cfgs();
        let visibility = &self.function.item.vis;
        let krate = self.options.krate();
        let output = &self.function.output;
        let parameters = self.function.parameters.iter().map(Parameter::in_call);
        let name = self.function.name();
        let type_doc =
            format!("The task [`{name}`](fn@{name}), to be submitted by [`call`](Self::call).");
        let call_doc = format!(
            "Describes a call of [`{name}`](fn@{name}). Nothing runs before it is submitted."
        );
        quote! {
            #(#cfgs)*
            #[doc = #type_doc]
            #[allow(non_camel_case_types, dead_code)]
            #visibility struct #handle {}

            #(#cfgs)*
            #[doc(hidden)]
            #[allow(non_camel_case_types, dead_code)]
            struct #helper {}

            // Before `call`, so that what it says of a type is said before what rustc says of the body.
            #kind

            #(#cfgs)*
            #[allow(dead_code, private_interfaces, clippy::all, clippy::pedantic)]
            impl #handle {
                #[doc = #call_doc]
                #[inline]
                #visibility fn call(#(#parameters),*) -> #krate::Call<#output> {
                    #body
                }
            }
        }
    }

    /// A name for the value of parameter `position` that nothing of the user's can clash with.
    pub(crate) fn local(position: usize) -> Ident {
        hygienic(&format!("argument_{position}"))
    }
}

/// A name of a variable that nothing of the user's can clash with.
pub(crate) fn hygienic(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
