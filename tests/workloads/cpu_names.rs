//! Names that have to be demangled: a generic method of a module, called through a trait.
use std::time::{Duration, Instant};

pub mod coffee {
    pub trait Work {
        fn grind(&self, until: std::time::Instant) -> u64;
    }

    impl<T: Copy + Into<u64>> Work for [T] {
        #[inline(never)]
        fn grind(&self, until: std::time::Instant) -> u64 {
            let mut sum = 0u64;
            while std::time::Instant::now() < until {
                for bean in self {
                    sum = std::hint::black_box(sum.wrapping_add((*bean).into()));
                }
            }
            sum
        }
    }
}

fn main() {
    use coffee::Work;
    let ms = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    let beans = [7u32; 4096];
    std::hint::black_box(beans[..].grind(Instant::now() + Duration::from_millis(ms)));
}
