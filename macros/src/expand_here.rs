//! Tasks that run in this process, on the thread pool or a loop: their arguments go into a closure or a future, nothing
//! is registered.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use crate::signature::{Parameter, Passing, Runs, plain};
use crate::task::Task;

/// The body of `call`.
pub(crate) fn call_body(task: &Task) -> TokenStream {
    let Task { helper, private, options, function, .. } = task;
    let krate = options.krate();
    let output = &function.output;
    let name = plain(function.name());
    let declared = options.declared();
    let arguments: Vec<_> = function
        .parameters
        .iter()
        .enumerate()
        .map(|(position, parameter)| Argument::new(task, position, parameter))
        .collect();
    let owns = arguments.iter().map(|argument| &argument.own);
    let (new, work) = match (function.runs, options.retries > 0) {
        (Runs::OnLoop, false) => {
            let passed = arguments.iter().map(|argument| &argument.passed);
            (quote!(__new_future), quote!(async move { #helper::invoke(#(#passed),*).await }))
        }
        (Runs::OnLoop, true) => {
            let passed = arguments.iter().map(|argument| &argument.passed);
            let again = arguments.iter().map(|argument| &argument.again);
            let make = quote!(move || {
                #(#again)*
                async move { #helper::invoke(#(#passed),*).await }
            });
            (quote!(__new_future_repeatable), make)
        }
        (_, false) => {
            let passed = arguments.iter().map(|argument| &argument.passed);
            (quote!(__new_io), quote!(move || #helper::invoke(#(#passed),*)))
        }
        (_, true) => {
            let passed = arguments.iter().map(|argument| &argument.passed_again);
            (quote!(__new_io_repeatable), quote!(move || #helper::invoke(#(#passed),*)))
        }
    };
    quote! {
        #(#owns)*
        #krate::Call::<#output>::#new(
            ::core::concat!(::core::module_path!(), "::", #name),
            #declared,
            <#helper as #private::IoTask>::describe(),
            #work,
        )
    }
}

/// How an argument gets to the function.
struct Argument {
    /// Takes it into a variable that owns it.
    own: TokenStream,
    /// Makes another such variable for one attempt, of the same name.
    again: TokenStream,
    /// What the function is given of the variable, which is used up.
    passed: TokenStream,
    /// The same without using it up.
    passed_again: TokenStream,
}

impl Argument {
    fn new(task: &Task, position: usize, parameter: &Parameter) -> Self {
        let Task { helper, private, .. } = task;
        let (local, ident) = (Task::local(position), &parameter.ident);
        let clone = clone_name(position);
        let (owned, again, passed, passed_again) = match parameter.passing {
            Passing::Owned => {
                let again = quote!((#helper::#clone())(&#local));
                (quote!(#ident), again.clone(), quote!(#local), again)
            }
            Passing::Borrowed(_) => {
                let own = quote!(#private::own::<#helper, #position>);
                let lent = quote!(#private::lend_owned::<#helper, #position>(&#local));
                (quote!(#own(#ident)), quote!(#own(#lent)), lent.clone(), lent)
            }
            Passing::BorrowedOption(_) => {
                let own = quote!(#private::own_option::<#helper, #position>);
                let lent = quote!(::core::option::Option::as_ref(&#local)
                    .map(|owned| #private::lend_owned::<#helper, #position>(owned)));
                (quote!(#own(#ident)), quote!(#own(#lent)), lent.clone(), lent)
            }
        };
        let (own, again) = (quote!(let #local = #owned;), quote!(let #local = #again;));
        Self { own, again, passed, passed_again }
    }
}

/// The checks of the types, and the way to the function (whose name a parameter of `call` may shadow).
pub(crate) fn tokens(task: &Task) -> TokenStream {
    let Task { helper, private, function, .. } = task;
    let cfgs = function.cfgs();
    let name = function.name();
    let output = &function.output;
    let parameters = function
        .parameters
        .iter()
        .enumerate()
        .map(|(position, parameter)| parameter_impls(task, position, parameter));
    let locals: Vec<_> = (0..function.parameters.len()).map(Task::local).collect();
    let asyncness = &function.item.sig.asyncness;
    let awaited = asyncness.map(|_| quote!(.await));
    let declared = function.parameters.iter().map(|parameter| &parameter.declared);
    let describe = quote_spanned! {output.span()=>
        (&&&&&#private::Returned::<#output>::NEW).kind().describe()
    };
    quote! {
        #(#parameters)*

        #(#cfgs)*
        impl #private::IoTask for #helper {
            type Output = #output;

            fn describe() -> #private::Describe<#output> {
                #[allow(unused_imports)]
                use #private::{
                    ViaDisplay as _, ViaError as _, ViaFailure as _, ViaPlain as _, ViaSilent as _,
                };
                #describe
            }
        }

        #(#cfgs)*
        #[allow(deprecated, dead_code, clippy::all, clippy::pedantic)]
        impl #helper {
            #asyncness fn invoke(#(#locals: #declared),*) -> #output {
                #name(#(#locals),*) #awaited
            }
        }
    }
}

fn parameter_impls(task: &Task, position: usize, parameter: &Parameter) -> TokenStream {
    let Task { helper, private, function, options, .. } = task;
    let cfgs = function.cfgs();
    let crossing = parameter.crossing_type();
    match parameter.passing {
        Passing::Owned => {
            let repeated = (options.retries > 0).then(|| {
                let clone = clone_name(position);
                quote! {
                    #(#cfgs)*
                    impl #helper {
                        fn #clone() -> fn(&#crossing) -> #crossing {
                            #private::given_again::<#crossing>()
                        }
                    }
                }
            });
            quote! {
                #(#cfgs)*
                const _: fn() = || #private::goes_to_thread::<#crossing>();
                #repeated
            }
        }
        Passing::Borrowed(_) | Passing::BorrowedOption(_) => quote! {
            #(#cfgs)*
            impl #private::IoBorrowed<#position> for #helper {
                type Type = #crossing;
            }
        },
    }
}

/// Names the function that tells how argument `position` is cloned.
fn clone_name(position: usize) -> Ident {
    format_ident!("clone_{position}")
}
