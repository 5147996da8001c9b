// Six kernels behind the ABI pangea:1, for the benchmark, golden vectors and tests. The same in Rust: ../benches/sandbox/native.rs.
// Input: kernel (1 byte), n (4 bytes, little endian). Output: a checksum of 8 bytes.
//
// Made with clang 14 and lld 14 (Debian 12):
//   clang --target=wasm32 -O2 -nostdlib -fno-builtin -ffp-contract=off -mbulk-memory -Wl,--no-entry,-z,stack-size=65536,--strip-all \
//         -o kernels.wasm kernels.c

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
#define EXPORT(name) __attribute__((export_name(name)))

extern u8 __heap_base;
static u8 *top = &__heap_base;

// A bump allocator; every call of handle begins anew.
static void *take(u32 bytes) {
    u8 *start = top;
    top += (bytes + 15) & ~15u;
    u32 pages = ((u32)top + 65535) >> 16, have = __builtin_wasm_memory_size(0);
    if (pages > have && __builtin_wasm_memory_grow(0, pages - have) == (u32)-1) __builtin_trap();
    return start;
}

static u32 lcg(u32 *state) { return *state = *state * 1664525u + 1013904223u; }

static const u32 K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static u32 ror(u32 x, u32 n) { return x >> n | x << (32 - n); }

// The compression function of SHA-256 (FIPS 180-4) over n blocks that follow from their number.
static u64 sha256(u32 n) {
    u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    for (u32 block = 0; block < n; block++) {
        u32 w[64];
        for (u32 i = 0; i < 16; i++) w[i] = block * 16 + i;
        for (u32 i = 16; i < 64; i++) {
            u32 a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) + w[i - 7] + (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
        }
        u32 v[8];
        for (u32 i = 0; i < 8; i++) v[i] = h[i];
        for (u32 i = 0; i < 64; i++) {
            u32 a = v[0], e = v[4];
            u32 x = v[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + K[i] + w[i];
            u32 y = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
            v[7] = v[6]; v[6] = v[5]; v[5] = e; v[4] = v[3] + x;
            v[3] = v[2]; v[2] = v[1]; v[1] = a; v[0] = x + y;
        }
        for (u32 i = 0; i < 8; i++) h[i] += v[i];
    }
    return (u64)h[0] << 32 | h[7];
}

static u64 bits(double x) { union { double d; u64 u; } both = {x}; return both.u; }

static u64 matmul(u32 n) {
    double *a = take(n * n * 8), *b = take(n * n * 8), *c = take(n * n * 8);
    for (u32 i = 0; i < n * n; i++) { a[i] = (double)(i % 7) + 0.5; b[i] = (double)(i % 5) - 0.25; c[i] = 0; }
    for (u32 i = 0; i < n; i++)
        for (u32 k = 0; k < n; k++) {
            double x = a[i * n + k];
            for (u32 j = 0; j < n; j++) c[i * n + j] += x * b[k * n + j];
        }
    double sum = 0;
    for (u32 i = 0; i < n * n; i++) sum += c[i] / (double)(1 + i % 3);
    return bits(sum);
}

static u64 sieve(u32 n) {
    u8 *composite = take(n + 1);
    for (u32 i = 0; i <= n; i++) composite[i] = 0;
    u64 count = 0;
    for (u32 i = 2; i <= n; i++) {
        if (composite[i]) continue;
        count++;
        for (u32 j = i * 2; j <= n; j += i) composite[j] = 1;
    }
    return count;
}

// Five bodies under gravity, as in the Computer Language Benchmarks Game; positions are made up.
static u64 nbody(u32 n) {
    double p[5][3], v[5][3], m[5];
    for (u32 i = 0; i < 5; i++) {
        m[i] = 1.0 / (double)(1 + i * i);
        for (u32 d = 0; d < 3; d++) { p[i][d] = (double)(i * 3 + d * d) - 4.5; v[i][d] = (double)(d + 1) * 0.1 - (double)i * 0.05; }
    }
    for (u32 step = 0; step < n; step++) {
        for (u32 i = 0; i < 5; i++)
            for (u32 j = i + 1; j < 5; j++) {
                double x = p[i][0] - p[j][0], y = p[i][1] - p[j][1], z = p[i][2] - p[j][2];
                double square = x * x + y * y + z * z + 0.01, pull = 0.01 / (square * __builtin_sqrt(square));
                v[i][0] -= x * m[j] * pull; v[i][1] -= y * m[j] * pull; v[i][2] -= z * m[j] * pull;
                v[j][0] += x * m[i] * pull; v[j][1] += y * m[i] * pull; v[j][2] += z * m[i] * pull;
            }
        for (u32 i = 0; i < 5; i++)
            for (u32 d = 0; d < 3; d++) p[i][d] += 0.01 * v[i][d];
    }
    return bits(p[0][0]) ^ bits(p[4][2]);
}

static void quicksort(u32 *x, int low, int high) {
    while (low < high) {
        u32 pivot = x[(low + high) / 2];
        int i = low, j = high;
        while (i <= j) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i <= j) { u32 t = x[i]; x[i++] = x[j]; x[j--] = t; }
        }
        if (j - low < high - i) { quicksort(x, low, j); low = i; } else { quicksort(x, i, high); high = j; }
    }
}

static u64 sort(u32 n) {
    u32 *x = take(n * 4), state = 42;
    for (u32 i = 0; i < n; i++) x[i] = lcg(&state);
    quicksort(x, 0, (int)n - 1);
    u64 sum = 0;
    for (u32 i = 0; i < n; i++) sum = sum * 31 + x[i];
    return sum;
}

// Words and letters of a text of n bytes.
static u64 words(u32 n) {
    u8 *text = take(n);
    u32 *histogram = take(256 * 4), state = 7;
    for (u32 i = 0; i < 256; i++) histogram[i] = 0;
    for (u32 i = 0; i < n; i++) { u32 r = lcg(&state) >> 24; text[i] = r < 40 ? ' ' : (u8)('a' + r % 26); }
    u64 count = 0;
    u8 inside = 0;
    for (u32 i = 0; i < n; i++) {
        u8 letter = text[i] != ' ';
        count += letter & !inside;
        inside = letter;
        histogram[text[i]]++;
    }
    u64 sum = count;
    for (u32 i = 0; i < 256; i++) sum = sum * 31 + histogram[i];
    return sum;
}

EXPORT("alloc") void *alloc(u32 len) { top = &__heap_base; return take(len); }

EXPORT("handle") u64 handle(u8 *input, u32 len) {
    if (len != 5) __builtin_trap();
    u32 n = input[1] | input[2] << 8 | input[3] << 16 | (u32)input[4] << 24;
    u64 *out = take(8);
    switch (input[0]) {
        case 0: *out = sha256(n); break;
        case 1: *out = matmul(n); break;
        case 2: *out = sieve(n); break;
        case 3: *out = nbody(n); break;
        case 4: *out = sort(n); break;
        case 5: *out = words(n); break;
        default: __builtin_trap();
    }
    return (u64)(u32)out << 32 | 8;
}
