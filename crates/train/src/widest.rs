//! Runs a plain loop with the widest vectors of this CPU. The compiler vectorises it once for each instruction
//! set; the results are the same bits, since Rust never fuses or reorders floating point operations.

/// `widest!(fn name<W: Bound>(arg: Type, …) -> Type { body })`.
macro_rules! widest {
    ($(#[$doc:meta])* $vis:vis fn $name:ident $(<$word:ident: $bound:path>)? ($($arg:ident: $type:ty),* $(,)?)
     $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        $vis fn $name $(<$word: $bound>)? ($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn plain $(<$word: $bound>)? ($($arg: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2")]
                fn avx512 $(<$word: $bound>)? ($($arg: $type),*) $(-> $out)? {
                    plain($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2 $(<$word: $bound>)? ($($arg: $type),*) $(-> $out)? {
                    plain($($arg),*)
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: this CPU has the instructions.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}

pub(crate) use widest;
