//! `#[worker_init]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Error;
use syn::spanned::Spanned;

use crate::expand_process::is_unsized;
use crate::main_attribute::crate_path;
use crate::signature::{Function, Parameter, Passing, plain};
use crate::task::{function, hygienic};

pub(crate) fn expand(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let function = match function(item, "#[worker_init]") {
        Ok(function) => function,
        Err(error) => return error,
    };
    let expanded = crate_path(attribute).and_then(|krate| {
        if let Some(token) = &function.sig.asyncness {
            let message = "an initialiser is over before the worker's first task, so it is a plain `fn`; wait in it \
                           for what you need";
            return Err(Error::new_spanned(token, message));
        }
        let function = Function::new(function.clone(), false)?;
        tokens(&krate, &function)
    });
    match expanded {
        Ok(tokens) => quote!(#function #tokens),
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#function #error)
        }
    }
}

fn tokens(krate: &TokenStream, function: &Function) -> Result<TokenStream, Error> {
    let private = quote!(#krate::__private);
    let name = function.name();
    let data = hygienic("data");
    let describe_local = hygienic("describe");
    let call = match &function.parameters[..] {
        [] => quote!(#name()),
        [parameter] => {
            let argument = match &parameter.passing {
                Passing::Borrowed(target) if is_unsized(target) => {
                    let message = "what has no size of its own can't be lent here: take the `String`, `PathBuf` or \
                                   `Vec<T>` that the builder gives, or a reference to one";
                    return Err(Error::new_spanned(&parameter.declared, message));
                }
                Passing::Owned => quote!(#data),
                Passing::Borrowed(_) => quote!(&#data),
                Passing::BorrowedOption(_) => return Err(refuse(parameter)),
            };
            let data_type = parameter.crossing_type();
            quote_spanned! {data_type.span()=> {
                let #data: #data_type = #private::init_data::<#data_type>(#data)?;
                #name(#argument)
            }}
        }
        [_, second, ..] => return Err(refuse(second)),
    };
    let cfgs = function.cfgs();
    let text = plain(name);
    let output = &function.output;
    let describe = quote_spanned! {output.span()=>
        (&&&&&#private::Returned::<#output>::NEW).kind().describe()
    };
    let line = quote_spanned!(name.span()=> ::core::line!());
    Ok(quote! {
        #(#cfgs)*
        const _: () = {
            const __ATASKER_PATH: &::core::primitive::str =
                ::core::concat!(::core::module_path!(), "::", #text);

            #[allow(clippy::all, clippy::pedantic)]
            fn __atasker_run(
                #data: ::core::option::Option<(&::core::primitive::str, &[::core::primitive::u8])>,
            ) -> ::core::result::Result<(), ::std::string::String> {
                #[allow(unused_imports)]
                use #private::{
                    ViaDisplay as _, ViaError as _, ViaFailure as _, ViaPlain as _, ViaSilent as _,
                };
                #private::run_init(__ATASKER_PATH, || {
                    let _ = #data;
                    let #describe_local: #private::Describe<#output> = #describe;
                    ::core::result::Result::Ok(#describe_local(&#call))
                })
            }

            #private::inventory::submit! {
                #private::WorkerInit { path: __ATASKER_PATH, file: ::core::file!(), line: #line, run: __atasker_run }
            }
        };
    })
}

fn refuse(parameter: &Parameter) -> Error {
    Error::new_spanned(
        &parameter.declared,
        "an initialiser takes nothing, or one value or reference that the supervisor's builder gives; \
         put several values into a struct",
    )
}
