//! Tasks that run on the thread pool: their arguments go into a closure, nothing is registered.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use crate::signature::{Parameter, Passing, plain};
use crate::task::Task;

/// The body of `call`.
pub(crate) fn call_body(task: &Task) -> TokenStream {
    let Task { helper, private, options, function, .. } = task;
    let krate = options.krate();
    let output = &function.output;
    let name = plain(function.name());
    let declared = options.declared();
    let (mut owns, mut all_passed) = (Vec::new(), Vec::new());
    for (position, parameter) in function.parameters.iter().enumerate() {
        let local = Task::local(position);
        let ident = &parameter.ident;
        let (own, passed) = match parameter.passing {
            Passing::Owned if options.retries > 0 => {
                let clone = clone_name(position);
                (quote!(#ident), quote!((#helper::#clone())(&#local)))
            }
            Passing::Owned => (quote!(#ident), quote!(#local)),
            Passing::Borrowed(_) => (
                quote!(#private::own::<#helper, #position>(#ident)),
                quote!(#private::lend_owned::<#helper, #position>(&#local)),
            ),
            Passing::BorrowedOption(_) => (
                quote!(#private::own_option::<#helper, #position>(#ident)),
                quote!(::core::option::Option::as_ref(&#local)
                    .map(|owned| #private::lend_owned::<#helper, #position>(owned))),
            ),
        };
        owns.push(quote!(let #local = #own;));
        all_passed.push(passed);
    }
    let new = if options.retries > 0 { quote!(__new_io_repeatable) } else { quote!(__new_io) };
    quote! {
        #(#owns)*
        #krate::Call::<#output>::#new(
            ::core::concat!(::core::module_path!(), "::", #name),
            #declared,
            <#helper as #private::IoTask>::describe(),
            move || #helper::invoke(#(#all_passed),*),
        )
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
            fn invoke(#(#locals: #declared),*) -> #output {
                #name(#(#locals),*)
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
