//! Tasks that run in worker processes: they are registered, and their arguments and results cross.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use crate::signature::{Parameter, Passing, plain};
use crate::task::Task;

/// The body of `call`.
pub(crate) fn call_body(task: &Task) -> TokenStream {
    let Task { helper, private, options, .. } = task;
    let krate = options.krate();
    let output = &task.function.output;
    let encoder = Ident::new("encoder", Span::mixed_site());
    let puts = task.function.parameters.iter().enumerate().map(|(position, parameter)| {
        let ident = &parameter.ident;
        match parameter.passing {
            Passing::Owned => quote!(#encoder.owned::<#helper, #position>(&#ident);),
            Passing::Borrowed(_) => quote!(#encoder.borrowed::<#helper, #position>(#ident);),
            Passing::BorrowedOption(_) => {
                quote!(#encoder.borrowed_option::<#helper, #position>(#ident);)
            }
        }
    });
    quote! {
        #[allow(unused_mut)]
        let mut #encoder = #private::ArgumentsEncoder::new(
            <#helper as #private::ProcessTask>::ENTRY.parameters,
        );
        #(#puts)*
        #krate::Call::<#output>::__new_process(
            <#helper as #private::ProcessTask>::ENTRY,
            #encoder.finish(),
            <#helper as #private::ProcessTask>::returns().decode,
        )
    }
}

/// The registration, and what runs in the worker.
pub(crate) fn tokens(task: &Task) -> TokenStream {
    let Task { helper, private, function, .. } = task;
    let cfgs = function.cfgs();
    let parameters = parameters(task);
    let entry = entry(task);
    let run = run(task);
    let digest = digest(task);
    let output = &function.output;
    // At the type's place, so that a type that can't cross is shown there.
    let returns = quote_spanned! {output.span()=>
        (&&&&&#private::Returned::<#output>::NEW).kind().ops()
    };
    quote! {
        #parameters

        #(#cfgs)*
        #[allow(deprecated, clippy::all, clippy::pedantic)]
        impl #private::ProcessTask for #helper {
            type Output = #output;

            const ENTRY: &'static #private::TaskEntry = &#entry;

            fn returns() -> #private::ReturnOps<#output> {
                #[allow(unused_imports)]
                use #private::{
                    ViaDisplay as _, ViaError as _, ViaFailure as _, ViaPlain as _, ViaSilent as _,
                };
                #returns
            }

            #run
            #digest
        }

        #(#cfgs)*
        const _: () = {
            #private::inventory::submit! {
                #private::RegisteredTask(<#helper as #private::ProcessTask>::ENTRY)
            }
        };
    }
}

/// One impl for each parameter: the only place where its type's bounds are checked.
fn parameters(task: &Task) -> TokenStream {
    let Task { helper, private, function, .. } = task;
    let cfgs = function.cfgs();
    let impls = function.parameters.iter().enumerate().map(|(position, parameter)| {
        let crossing = parameter.crossing_type();
        match parameter.passing {
            Passing::Owned => quote! {
                #(#cfgs)*
                impl #private::OwnedParameter<#position> for #helper {
                    type Type = #crossing;

                    fn ops() -> #private::ParameterOps<#crossing> {
                        #private::parameter_ops::<#crossing>()
                    }
                }
            },
            Passing::Borrowed(_) | Passing::BorrowedOption(_) => {
                let form =
                    if is_byte_slice(crossing) { quote!(AsBytes) } else { quote!(AsDeclared) };
                quote! {
                    #(#cfgs)*
                    impl #private::BorrowedParameter<#position> for #helper {
                        type Form = #private::#form;
                        type Type = #crossing;
                    }
                }
            }
        }
    });
    quote!(#(#impls)*)
}

fn entry(task: &Task) -> TokenStream {
    let Task { helper, private, function, options, .. } = task;
    let name = plain(function.name());
    let signature = function.signature_text();
    let docs = function.docs();
    let declared = options.declared();
    let names = function.parameters.iter().map(Parameter::name);
    let type_names = function.parameters.iter().map(Parameter::type_text);
    let place = function.name().span();
    let line = quote_spanned!(place=> ::core::line!());
    quote! {
        #private::TaskEntry {
            path: ::core::concat!(::core::module_path!(), "::", #name),
            signature: #signature,
            parameters: &[#(#private::Parameter { name: #names, type_name: #type_names }),*],
            docs: #docs,
            file: ::core::file!(),
            line: #line,
            digest: <#helper as #private::ProcessTask>::digest,
            declared: #declared,
            run: <#helper as #private::ProcessTask>::run,
        }
    }
}

fn run(task: &Task) -> TokenStream {
    let Task { helper, private, function, .. } = task;
    let name = function.name();
    let (mut reads, mut locals, mut all_passed) = (Vec::new(), Vec::new(), Vec::new());
    for (position, parameter) in function.parameters.iter().enumerate() {
        let local = Task::local(position);
        // At the type's place, so that one that can't cross is shown there.
        let place = parameter.crossing_type().span();
        let (read, passed) = match parameter.passing {
            Passing::Owned => (quote!(owned), quote!(#local)),
            Passing::Borrowed(_) => (
                quote!(borrowed),
                quote_spanned!(place=> #private::lend::<#helper, #position>(&#local)),
            ),
            Passing::BorrowedOption(_) => (
                quote!(borrowed_option),
                quote_spanned!(place=> #private::lend_option::<#helper, #position>(&#local)),
            ),
        };
        reads.push(quote_spanned!(place=> decoder.#read::<#helper, #position>()?));
        locals.push(local);
        all_passed.push(passed);
    }
    quote! {
        fn run(codec: #private::CodecId, bytes: &[u8]) -> #private::Outcome {
            let arguments = match #private::parse::<Self>(codec, bytes) {
                ::core::result::Result::Ok(arguments) => arguments,
                ::core::result::Result::Err(outcome) => return outcome,
            };
            #[allow(unused_variables)]
            let (#(#locals,)*) = match #private::decode(&arguments, |decoder| {
                ::core::result::Result::Ok((#(#reads,)*))
            }) {
                ::core::result::Result::Ok(decoded) => decoded,
                ::core::result::Result::Err(outcome) => return outcome,
            };
            #private::call::<Self>(codec, move || #name(#(#all_passed),*))
        }
    }
}

fn digest(task: &Task) -> TokenStream {
    let Task { helper, private, function, .. } = task;
    let traces = function.parameters.iter().enumerate().map(|(position, parameter)| {
        let tracer = match &parameter.passing {
            Passing::Owned => quote!(owned),
            Passing::Borrowed(_) | Passing::BorrowedOption(_) => quote!(borrowed),
        };
        quote!(shapes.#tracer::<#helper, #position>();)
    });
    quote! {
        fn digest() -> ::core::primitive::u64 {
            static DIGEST: ::std::sync::OnceLock<::core::primitive::u64> =
                ::std::sync::OnceLock::new();
            *DIGEST.get_or_init(|| {
                #private::digest(<Self as #private::ProcessTask>::ENTRY.signature, |shapes| {
                    #(#traces)*
                    (<Self as #private::ProcessTask>::returns().trace)(shapes);
                })
            })
        }
    }
}

fn is_byte_slice(target: &Type) -> bool {
    match target {
        Type::Slice(slice) => match &*slice.elem {
            Type::Path(path) => path.path.is_ident("u8"),
            _ => false,
        },
        Type::Paren(inner) => is_byte_slice(&inner.elem),
        _ => false,
    }
}
