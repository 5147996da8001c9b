//! The kernels of `guests/kernels.c` once more, for this processor.

const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// Runs kernel number `kernel`.
pub fn run(kernel: u8, n: u32) -> u64 {
    match kernel {
        0 => sha256(n),
        1 => matmul(n as usize),
        2 => sieve(n as usize),
        3 => nbody(n),
        4 => sort(n as usize),
        _ => words(n as usize),
    }
}

fn sha256(n: u32) -> u64 {
    let mut h: [u32; 8] =
        [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
    for block in 0..n {
        let mut w = [0u32; 64];
        for (i, word) in (0..).zip(&mut w[..16]) {
            *word = block * 16 + i;
        }
        for i in 16..64 {
            let (a, b) = (w[i - 15], w[i - 2]);
            let a = a.rotate_right(7) ^ a.rotate_right(18) ^ a >> 3;
            let b = b.rotate_right(17) ^ b.rotate_right(19) ^ b >> 10;
            w[i] = w[i - 16].wrapping_add(a).wrapping_add(w[i - 7]).wrapping_add(b);
        }
        let mut v = h;
        for i in 0..64 {
            let (a, e) = (v[0], v[4]);
            let x = v[7]
                .wrapping_add(e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25))
                .wrapping_add((e & v[5]) ^ (!e & v[6]))
                .wrapping_add(K[i])
                .wrapping_add(w[i]);
            let y = (a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22))
                .wrapping_add((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
            v = [x.wrapping_add(y), a, v[1], v[2], v[3].wrapping_add(x), e, v[5], v[6]];
        }
        for i in 0..8 {
            h[i] = h[i].wrapping_add(v[i]);
        }
    }
    u64::from(h[0]) << 32 | u64::from(h[7])
}

fn matmul(n: usize) -> u64 {
    let a: Vec<f64> = (0..n * n).map(|i| (i % 7) as f64 + 0.5).collect();
    let b: Vec<f64> = (0..n * n).map(|i| (i % 5) as f64 - 0.25).collect();
    let mut c = vec![0.0; n * n];
    for i in 0..n {
        for k in 0..n {
            let x = a[i * n + k];
            for j in 0..n {
                c[i * n + j] += x * b[k * n + j];
            }
        }
    }
    c.iter().enumerate().fold(0.0, |sum: f64, (i, c)| sum + c / (1 + i % 3) as f64).to_bits()
}

fn sieve(n: usize) -> u64 {
    let mut composite = vec![false; n + 1];
    let mut count = 0;
    for i in 2..=n {
        if !composite[i] {
            count += 1;
            for j in (i * 2..=n).step_by(i) {
                composite[j] = true;
            }
        }
    }
    count
}

fn nbody(n: u32) -> u64 {
    let (mut p, mut v, mut m) = ([[0.0f64; 3]; 5], [[0.0f64; 3]; 5], [0.0f64; 5]);
    for i in 0..5 {
        m[i] = 1.0 / (1 + i * i) as f64;
        for d in 0..3 {
            p[i][d] = (i * 3 + d * d) as f64 - 4.5;
            v[i][d] = (d + 1) as f64 * 0.1 - i as f64 * 0.05;
        }
    }
    for _ in 0..n {
        for i in 0..5 {
            for j in i + 1..5 {
                let [x, y, z] = [0, 1, 2].map(|d| p[i][d] - p[j][d]);
                let square = x * x + y * y + z * z + 0.01;
                let pull = 0.01 / (square * square.sqrt());
                for (d, way) in [x, y, z].into_iter().enumerate() {
                    v[i][d] -= way * m[j] * pull;
                    v[j][d] += way * m[i] * pull;
                }
            }
        }
        for i in 0..5 {
            for d in 0..3 {
                p[i][d] += 0.01 * v[i][d];
            }
        }
    }
    p[0][0].to_bits() ^ p[4][2].to_bits()
}

fn lcg(state: &mut u32) -> u32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    *state
}

fn quicksort(mut x: &mut [u32]) {
    while x.len() > 1 {
        let pivot = x[(x.len() - 1) / 2];
        let (mut i, mut j) = (0isize, x.len() as isize - 1);
        while i <= j {
            while x[i as usize] < pivot {
                i += 1;
            }
            while x[j as usize] > pivot {
                j -= 1;
            }
            if i <= j {
                x.swap(i as usize, j as usize);
                i += 1;
                j -= 1;
            }
        }
        let (low, rest) = x.split_at_mut(i as usize);
        let low = &mut low[..(j + 1) as usize];
        if low.len() < rest.len() {
            quicksort(low);
            x = rest;
        } else {
            quicksort(rest);
            x = low;
        }
    }
}

fn sort(n: usize) -> u64 {
    let mut state = 42;
    let mut x: Vec<u32> = (0..n).map(|_| lcg(&mut state)).collect();
    quicksort(&mut x);
    x.iter().fold(0, |sum: u64, x| sum.wrapping_mul(31).wrapping_add(u64::from(*x)))
}

fn words(n: usize) -> u64 {
    let mut state = 7;
    let letter = |r: u32| if r < 40 { b' ' } else { b'a' + (r % 26) as u8 };
    let text: Vec<u8> = (0..n).map(|_| letter(lcg(&mut state) >> 24)).collect();
    let (mut count, mut inside, mut histogram) = (0u64, false, [0u32; 256]);
    for byte in text {
        let letter = byte != b' ';
        count += u64::from(letter & !inside);
        inside = letter;
        histogram[usize::from(byte)] += 1;
    }
    histogram.iter().fold(count, |sum, bin| sum.wrapping_mul(31).wrapping_add(u64::from(*bin)))
}
