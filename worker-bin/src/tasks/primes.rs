//! Counting primes: pure computation, for as long as one likes.

/// Numbers per segment. Half of them are odd and have a byte, which fits into a second-level cache.
const SEGMENT: u64 = 1 << 18;

/// The sieve knows the primes below this. They and their offsets take 4 MiB.
const BASE_MAX: u64 = 1 << 22;

/// Count the prime numbers from `from` (inclusive) to `to` (exclusive).
///
/// A segmented sieve: the memory is a few MiB, whatever the range.
#[atasker::task]
pub fn count_primes(from: u64, to: u64) -> u64 {
    if to <= from || to <= 2 {
        return 0;
    }
    let two = u64::from(from <= 2);
    // Only odd numbers from here on.
    let mut start = from.max(3) | 1;
    let mut count = two;
    let largest = (to - 1).isqrt();
    let base = odd_primes_up_to(largest.min(BASE_MAX));
    let mut composite = vec![false; (SEGMENT / 2) as usize];
    while start < to {
        let end = start.saturating_add(SEGMENT).min(to);
        let odd_numbers = ((end - start).div_ceil(2)) as usize;
        let segment = &mut composite[..odd_numbers];
        segment.fill(false);
        strike_out(segment, start, &base);
        let left = segment.iter().enumerate().filter(|(_, struck)| !**struck);
        count += if largest <= BASE_MAX {
            left.count() as u64
        } else {
            left.filter(|(index, _)| is_prime(start + 2 * *index as u64)).count() as u64
        };
        atasker::progress(end - from, to - from);
        // The end of a whole segment is odd again, since a segment is even.
        start = end;
    }
    count
}

/// Mark the multiples of the `base` primes among the odd numbers from `start`.
fn strike_out(segment: &mut [bool], start: u64, base: &[u32]) {
    let numbers = 2 * segment.len() as u64;
    for &prime in base {
        let prime = u64::from(prime);
        let square = prime * prime;
        let first = if square >= start {
            square
        } else {
            // The first odd multiple from `start` on; what overflows lies beyond every range.
            let Some(multiple) = start.div_ceil(prime).checked_mul(prime) else { continue };
            let Some(odd) = multiple.checked_add(if multiple % 2 == 0 { prime } else { 0 }) else {
                continue;
            };
            odd
        };
        if first - start >= numbers {
            if square >= start {
                return;
            }
            continue;
        }
        let from = ((first - start) / 2) as usize;
        for struck in segment[from..].iter_mut().step_by(prime as usize) {
            *struck = true;
        }
    }
}

/// The odd primes up to `limit`, by the plain sieve.
fn odd_primes_up_to(limit: u64) -> Vec<u32> {
    let mut composite = vec![false; limit as usize / 2 + 1];
    let mut primes = Vec::new();
    for index in 1..composite.len() {
        let number = 2 * index + 1;
        if number as u64 > limit {
            break;
        }
        if composite[index] {
            continue;
        }
        primes.push(number as u32);
        for multiple in (number * number / 2..composite.len()).step_by(number) {
            composite[multiple] = true;
        }
    }
    primes
}

/// Miller–Rabin with the first twelve primes as bases, which is exact below 2^64 (Sorenson, Webster:
/// "Strong pseudoprimes to twelve prime bases", 2015). For what the sieve leaves of very large numbers, whose
/// base primes would not fit into little memory. `number` is odd.
fn is_prime(number: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if BASES.contains(&number) {
        return true;
    }
    let twos = (number - 1).trailing_zeros();
    let odd_part = (number - 1) >> twos;
    BASES.into_iter().all(|base| {
        let mut power = power_modulo(base, odd_part, number);
        if power == 1 || power == number - 1 {
            return true;
        }
        (1..twos).any(|_| {
            power = multiply_modulo(power, power, number);
            power == number - 1
        })
    })
}

fn multiply_modulo(a: u64, b: u64, modulus: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(modulus)) as u64
}

fn power_modulo(base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let (mut square, mut power) = (base % modulus, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = multiply_modulo(power, square, modulus);
        }
        square = multiply_modulo(square, square, modulus);
        exponent >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_division(from: u64, to: u64) -> u64 {
        let prime = |n: u64| n >= 2 && (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor));
        (from..to).filter(|n| prime(*n)).count() as u64
    }

    #[test]
    fn small_ranges_agree_with_division() {
        for from in 0..40 {
            for to in 0..130 {
                assert_eq!(count_primes(from, to), by_division(from, to), "{from}..{to}");
            }
        }
        let around = SEGMENT * 3;
        for from in around - 9..around + 9 {
            assert_eq!(count_primes(from, from + 60), by_division(from, from + 60), "{from}");
        }
    }

    #[test]
    fn known_counts() {
        // The prime-counting function at powers of ten (OEIS A006880).
        assert_eq!(count_primes(0, 1_000_000), 78_498);
        assert_eq!(count_primes(0, 10_000_000), 664_579);
        assert_eq!(count_primes(1_000_000, 10_000_000), 664_579 - 78_498);
    }

    #[test]
    fn ranges_add_up_across_segments() {
        let cuts = [0, 3, 1_000, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT + 7, 1_000_000];
        let sum: u64 = cuts.windows(2).map(|cut| count_primes(cut[0], cut[1])).sum();
        assert_eq!(sum, 78_498);
    }

    #[test]
    fn the_largest_numbers() {
        // The five primes below 2^64 nearest to it are 2^64 minus 59, 83, 95, 179, 189 (OEIS A013603 and
        // Caldwell's list of primes just less than a power of two).
        assert_eq!(count_primes(u64::MAX - 58, u64::MAX), 1);
        assert_eq!(count_primes(u64::MAX - 188, u64::MAX), 5);
        assert_eq!(count_primes(u64::MAX - 57, u64::MAX), 0);
        // Just where the sieve alone is no longer enough.
        let edge = BASE_MAX * BASE_MAX;
        let pieces: u64 =
            (0..4).map(|n| count_primes(edge - 2_000 + n * 1_000, edge - 1_000 + n * 1_000)).sum();
        assert_eq!(pieces, count_primes(edge - 2_000, edge + 2_000));
        assert_eq!(
            pieces,
            (edge - 2_000..edge + 2_000).filter(|n| n % 2 == 1 && is_prime(*n)).count() as u64
        );
    }
}
