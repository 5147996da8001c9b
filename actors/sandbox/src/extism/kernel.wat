;; What an Extism plugin finds in its host, as WebAssembly that is put into the plugin's own module (see `mod.rs`): blocks of
;; memory, input and output, variables, settings, log; and the ABI `pangea:1` around it.
;;
;; The plugin's memory is divided: its own pages, and behind them those of this kernel, whose blocks it knows by their
;; distance from $base only. When the plugin's part grows, the kernel's part moves up ($grow), and the plugin never sees
;; that there is more ($size). Positions below are distances from $base, unless they are called addresses.
;;
;;   0 ‥ 16          nothing: no block is at 0
;;   16 ‥ $kept      entries that are kept: settings and variables, one after the other
;;   $kept ‥ $top    blocks of this call, and entries that are not yet among those that are kept
;;
;; An entry: i32 kind (0 a variable, 1 a setting), i32 length of the key, i32 length of the value or -1, key, value.
;; A block: i64 length, bytes; its position is that of its bytes.
(module
  (type $log (func (param i32 i32 i32)))
  ;; Replaced by the import of `pangea`, or by nothing if the plugin logs nothing.
  (import "kernel" "log" (func $log (type $log)))
  ;; Calls the function of the plugin whose name is at these addresses: 0 if all went well, -2147483648 if there is none.
  (import "kernel" "call" (func $call (param $ptr i32) (param $len i32) (result i32)))
  (import "kernel" "memory" (memory 1))

  ;; Pages of the plugin; -1 before the first use.
  (global $pages (mut i32) (i32.const -1))
  (global $kept (mut i32) (i32.const 16))
  (global $top (mut i32) (i32.const 16))
  ;; The first and the last entry that is not yet kept: position of its header, which is behind an i32 with the next one's.
  (global $first (mut i32) (i32.const 0))
  (global $last (mut i32) (i32.const 0))
  (global $input (mut i32) (i32.const 0))
  (global $input_len (mut i32) (i32.const 0))
  (global $output (mut i32) (i32.const 0))
  (global $output_len (mut i32) (i32.const 0))
  (global $error (mut i64) (i64.const 0))

  ;; ---- memory --------------------------------------------------------------------------------------------------------

  (func $size (export "size") (result i32)
    (if (i32.lt_s (global.get $pages) (i32.const 0)) (then (global.set $pages (memory.size))))
    (global.get $pages))

  (func $base (result i32) (i32.shl (call $size) (i32.const 16)))

  ;; Pages of the kernel.
  (func $own (result i32) (i32.sub (memory.size) (call $size)))

  (func $grow (export "grow") (param $more i32) (result i32)
    (local $old i32) (local $from i32)
    (local.set $old (call $size))
    (local.set $from (call $base))
    (if (i32.eq (memory.grow (local.get $more)) (i32.const -1)) (then (return (i32.const -1))))
    (global.set $pages (i32.add (local.get $old) (local.get $more)))
    (if (i32.gt_u (global.get $top) (i32.const 16))
      (then
        (memory.copy (call $base) (local.get $from) (global.get $top))
        ;; What the plugin gets is zero, as new memory is.
        (memory.fill (local.get $from) (i32.const 0) (call $lesser (global.get $top) (i32.shl (local.get $more) (i32.const 16))))))
    (local.get $old))

  (func $lesser (param $a i32) (param $b i32) (result i32)
    (select (local.get $a) (local.get $b) (i32.lt_u (local.get $a) (local.get $b))))

  ;; Makes room for so many bytes at $top, which moves behind them. Returns their position; they are zero.
  (func $room (param $len i32) (result i32)
    (local $at i32) (local $end i32) (local $have i32)
    (local.set $at (global.get $top))
    ;; Multiples of 8, so that loads of 8 bytes are aligned.
    (local.set $end (i32.and (i32.add (i32.add (local.get $at) (local.get $len)) (i32.const 7)) (i32.const -8)))
    (if (i32.or (i32.gt_u (local.get $len) (i32.const 0x20000000)) (i32.gt_u (local.get $end) (i32.const 0x40000000)))
      (then unreachable))
    (local.set $have (i32.shl (call $own) (i32.const 16)))
    (if (i32.gt_u (local.get $end) (local.get $have))
      (then
        (if (i32.eq
              (memory.grow (i32.shr_u (i32.add (i32.sub (local.get $end) (local.get $have)) (i32.const 65535)) (i32.const 16)))
              (i32.const -1))
          (then unreachable))))
    (memory.fill (i32.add (call $base) (local.get $at)) (i32.const 0) (i32.sub (local.get $end) (local.get $at)))
    (global.set $top (local.get $end))
    (local.get $at))

  ;; The address of `len` bytes at a position that the plugin names; it traps if they are not there.
  (func $address (param $at i64) (param $len i32) (result i32)
    (if (i64.gt_u (i64.add (local.get $at) (i64.extend_i32_u (local.get $len))) (i64.extend_i32_u (global.get $top)))
      (then unreachable))
    (if (i64.gt_u (local.get $at) (i64.const 0x7fffffff)) (then unreachable))
    (i32.add (call $base) (i32.wrap_i64 (local.get $at))))

  ;; ---- blocks --------------------------------------------------------------------------------------------------------

  (func $alloc (export "alloc") (param $len i64) (result i64)
    (local $at i32)
    (if (i64.gt_u (local.get $len) (i64.const 0x20000000)) (then unreachable))
    (local.set $at (i32.add (call $room (i32.add (i32.wrap_i64 (local.get $len)) (i32.const 8))) (i32.const 8)))
    (i64.store offset=0 (i32.sub (i32.add (call $base) (local.get $at)) (i32.const 8)) (local.get $len))
    (i64.extend_i32_u (local.get $at)))

  (func (export "free") (param i64))

  (func $length (export "length") (param $at i64) (result i64)
    (if (i64.lt_u (local.get $at) (i64.const 16)) (then (return (i64.const 0))))
    (i64.load (call $address (i64.sub (local.get $at) (i64.const 8)) (i32.const 8))))

  (func (export "load_u8") (param $at i64) (result i32) (i32.load8_u (call $address (local.get $at) (i32.const 1))))
  (func (export "load_u64") (param $at i64) (result i64) (i64.load (call $address (local.get $at) (i32.const 8))))
  (func (export "store_u8") (param $at i64) (param $byte i32)
    (i32.store8 (call $address (local.get $at) (i32.const 1)) (local.get $byte)))
  (func (export "store_u64") (param $at i64) (param $bytes i64)
    (i64.store (call $address (local.get $at) (i32.const 8)) (local.get $bytes)))

  ;; ---- input and output ----------------------------------------------------------------------------------------------

  (func (export "input_length") (result i64) (i64.extend_i32_u (global.get $input_len)))
  (func (export "input_offset") (result i64) (i64.extend_i32_u (global.get $input)))
  (func $input_at (param $at i64) (param $len i32) (result i32)
    (if (i64.gt_u (i64.add (local.get $at) (i64.extend_i32_u (local.get $len))) (i64.extend_i32_u (global.get $input_len)))
      (then unreachable))
    (i32.add (i32.add (call $base) (global.get $input)) (i32.wrap_i64 (local.get $at))))
  (func (export "input_load_u8") (param $at i64) (result i32) (i32.load8_u (call $input_at (local.get $at) (i32.const 1))))
  (func (export "input_load_u64") (param $at i64) (result i64) (i64.load (call $input_at (local.get $at) (i32.const 8))))

  (func (export "output_set") (param $at i64) (param $len i64)
    (if (i64.gt_u (local.get $len) (i64.const 0x7fffffff)) (then unreachable))
    (drop (call $address (local.get $at) (i32.wrap_i64 (local.get $len))))
    (global.set $output (i32.wrap_i64 (local.get $at)))
    (global.set $output_len (i32.wrap_i64 (local.get $len))))

  (func (export "error_set") (param $at i64) (global.set $error (local.get $at)))
  (func (export "error_get") (result i64) (global.get $error))

  ;; There is no HTTP in the sandbox.
  (func (export "http_request") (param i64 i64) (result i64) unreachable)
  (func (export "http_status_code") (result i32) (i32.const 0))
  (func (export "http_headers") (result i64) (i64.const 0))

  ;; ---- log -----------------------------------------------------------------------------------------------------------

  (func (export "get_log_level") (result i32) (i32.const 0))
  (func $line (param $level i32) (param $at i64)
    (local $len i32)
    (local.set $len (i32.wrap_i64 (call $length (local.get $at))))
    (call $log (local.get $level) (call $address (local.get $at) (local.get $len)) (local.get $len)))
  (func (export "log_error") (param $at i64) (call $line (i32.const 0) (local.get $at)))
  (func (export "log_warn") (param $at i64) (call $line (i32.const 1) (local.get $at)))
  (func (export "log_info") (param $at i64) (call $line (i32.const 2) (local.get $at)))
  (func (export "log_debug") (param $at i64) (call $line (i32.const 3) (local.get $at)))
  (func (export "log_trace") (param $at i64) (call $line (i32.const 4) (local.get $at)))
  ;; In the place of `log`, where it is not imported.
  (func (export "no_log") (type $log))

  ;; ---- variables and settings ----------------------------------------------------------------------------------------

  (func $equal (param $a i32) (param $b i32) (param $len i32) (result i32)
    (block $differ
      (loop $next
        (if (i32.eqz (local.get $len)) (then (return (i32.const 1))))
        (br_if $differ (i32.ne (i32.load8_u (local.get $a)) (i32.load8_u (local.get $b))))
        (local.set $a (i32.add (local.get $a) (i32.const 1)))
        (local.set $b (i32.add (local.get $b) (i32.const 1)))
        (local.set $len (i32.sub (local.get $len) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; Bytes of the entry at an address.
  (func $entry_len (param $entry i32) (result i32)
    (local $value i32)
    (local.set $value (i32.load offset=8 (local.get $entry)))
    (i32.add (i32.const 12) (i32.add
      (i32.load offset=4 (local.get $entry))
      (select (local.get $value) (i32.const 0) (i32.ge_s (local.get $value) (i32.const 0))))))

  ;; Is the entry at an address of this kind and key?
  (func $is (param $entry i32) (param $kind i32) (param $key i32) (param $len i32) (result i32)
    (if (i32.ne (i32.load (local.get $entry)) (local.get $kind)) (then (return (i32.const 0))))
    (if (i32.ne (i32.load offset=4 (local.get $entry)) (local.get $len)) (then (return (i32.const 0))))
    (call $equal (i32.add (local.get $entry) (i32.const 12)) (local.get $key) (local.get $len)))

  ;; The address of a kept entry, or 0.
  (func $find (param $kind i32) (param $key i32) (param $len i32) (result i32)
    (local $at i32) (local $end i32)
    (local.set $at (i32.add (call $base) (i32.const 16)))
    (local.set $end (i32.add (call $base) (global.get $kept)))
    (block $none
      (loop $next
        (br_if $none (i32.ge_u (local.get $at) (local.get $end)))
        (if (call $is (local.get $at) (local.get $kind) (local.get $key) (local.get $len)) (then (return (local.get $at))))
        (local.set $at (i32.add (local.get $at) (call $entry_len (local.get $at))))
        (br $next)))
    (i32.const 0))

  ;; The address of the entry that counts, or 0: the last that is not yet kept, else the one that is.
  (func $look (param $kind i32) (param $key i32) (param $len i32) (result i32)
    (local $at i32) (local $found i32)
    (local.set $found (call $find (local.get $kind) (local.get $key) (local.get $len)))
    (local.set $at (global.get $first))
    (block $none
      (loop $next
        (br_if $none (i32.eqz (local.get $at)))
        (if (call $is (i32.add (call $base) (local.get $at)) (local.get $kind) (local.get $key) (local.get $len))
          (then (local.set $found (i32.add (call $base) (local.get $at)))))
        (local.set $at (i32.load (i32.sub (i32.add (call $base) (local.get $at)) (i32.const 4))))
        (br $next)))
    (local.get $found))

  ;; A copy of a value in a new block, or 0.
  (func $get (param $kind i32) (param $key i64) (result i64)
    (local $len i32) (local $entry i32) (local $at i64) (local $from i32)
    (local.set $len (i32.wrap_i64 (call $length (local.get $key))))
    (local.set $entry (call $look (local.get $kind) (call $address (local.get $key) (local.get $len)) (local.get $len)))
    (if (i32.eqz (local.get $entry)) (then (return (i64.const 0))))
    (if (i32.lt_s (i32.load offset=8 (local.get $entry)) (i32.const 0)) (then (return (i64.const 0))))
    (local.set $from (i32.add (local.get $entry) (i32.add (i32.const 12) (local.get $len))))
    (local.set $len (i32.load offset=8 (local.get $entry)))
    (local.set $at (call $alloc (i64.extend_i32_u (local.get $len))))
    ;; Nothing has moved: only the plugin's own growth moves the kernel's part.
    (memory.copy (call $address (local.get $at) (local.get $len)) (local.get $from) (local.get $len))
    (local.get $at))

  (func (export "config_get") (param $key i64) (result i64) (call $get (i32.const 1) (local.get $key)))
  (func (export "var_get") (param $key i64) (result i64) (call $get (i32.const 0) (local.get $key)))

  ;; Adds an entry to those that are not yet kept; addresses of key and value. A value of -1 bytes removes it.
  (func $put (param $kind i32) (param $key i32) (param $key_len i32) (param $value i32) (param $len i32)
    (local $at i32) (local $entry i32)
    (local.set $at (i32.add (i32.const 4) (call $room (i32.add (i32.add (i32.const 16) (local.get $key_len))
      (select (local.get $len) (i32.const 0) (i32.ge_s (local.get $len) (i32.const 0)))))))
    (local.set $entry (i32.add (call $base) (local.get $at)))
    (i32.store (local.get $entry) (local.get $kind))
    (i32.store offset=4 (local.get $entry) (local.get $key_len))
    (i32.store offset=8 (local.get $entry) (local.get $len))
    (memory.copy (i32.add (local.get $entry) (i32.const 12)) (local.get $key) (local.get $key_len))
    (if (i32.gt_s (local.get $len) (i32.const 0))
      (then
        (memory.copy
          (i32.add (local.get $entry) (i32.add (i32.const 12) (local.get $key_len))) (local.get $value) (local.get $len))))
    (if (global.get $last)
      (then (i32.store (i32.sub (i32.add (call $base) (global.get $last)) (i32.const 4)) (local.get $at)))
      (else (global.set $first (local.get $at))))
    (global.set $last (local.get $at)))

  (func (export "var_set") (param $key i64) (param $value i64)
    (local $key_len i32) (local $len i32)
    (local.set $key_len (i32.wrap_i64 (call $length (local.get $key))))
    (local.set $len (i32.wrap_i64 (call $length (local.get $value))))
    (if (i64.eqz (local.get $value)) (then (local.set $len (i32.const -1))))
    (call $put (i32.const 0) (call $address (local.get $key) (local.get $key_len)) (local.get $key_len)
      (select (i32.const 0) (call $address (local.get $value) (select (i32.const 0) (local.get $len) (i32.lt_s (local.get $len) (i32.const 0)))) (i64.eqz (local.get $value)))
      (local.get $len)))

  ;; A call begins: what was set in the last one is kept, and its blocks are gone. An entry that is kept moves down, to where
  ;; no other that is still to be kept can be: what is before it is at least as long as what was kept of it.
  (func $begin
    (local $at i32) (local $next i32) (local $entry i32) (local $old i32) (local $old_len i32) (local $len i32)
    (local.set $at (global.get $first))
    (block $done
      (loop $each
        (br_if $done (i32.eqz (local.get $at)))
        (local.set $entry (i32.add (call $base) (local.get $at)))
        (local.set $next (i32.load (i32.sub (local.get $entry) (i32.const 4))))
        (local.set $old (call $find (i32.load (local.get $entry)) (i32.add (local.get $entry) (i32.const 12))
          (i32.load offset=4 (local.get $entry))))
        (if (local.get $old)
          (then
            (local.set $old_len (call $entry_len (local.get $old)))
            (memory.copy (local.get $old) (i32.add (local.get $old) (local.get $old_len))
              (i32.sub (i32.sub (i32.add (call $base) (global.get $kept)) (local.get $old)) (local.get $old_len)))
            (global.set $kept (i32.sub (global.get $kept) (local.get $old_len)))))
        (if (i32.ge_s (i32.load offset=8 (local.get $entry)) (i32.const 0))
          (then
            (local.set $len (call $entry_len (local.get $entry)))
            (memory.copy (i32.add (call $base) (global.get $kept)) (local.get $entry) (local.get $len))
            (global.set $kept (i32.add (global.get $kept) (local.get $len)))))
        (local.set $at (local.get $next))
        (br $each)))
    (global.set $first (i32.const 0))
    (global.set $last (i32.const 0))
    (global.set $top (i32.and (i32.add (global.get $kept) (i32.const 7)) (i32.const -8)))
    (global.set $output_len (i32.const 0))
    (global.set $error (i64.const 0)))

  ;; ---- the ABI `pangea:1` --------------------------------------------------------------------------------------------

  ;; Room for an event, as the first block of a call.
  (func (export "pangea_alloc") (param $len i32) (result i32)
    (call $begin)
    (i32.add (call $base) (i32.wrap_i64 (call $alloc (i64.extend_i32_u (local.get $len))))))

  ;; The length of a byte string or text, or the number of pairs of a map, whose head is at an address; -1 for null.
  (global $next (mut i32) (i32.const 0))
  (func $head (param $at i32) (result i32)
    (local $first i32) (local $width i32) (local $value i32)
    (local.set $first (i32.load8_u (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (global.set $next (local.get $at))
    (if (i32.eq (local.get $first) (i32.const 0xf6)) (then (return (i32.const -1))))
    (local.set $first (i32.and (local.get $first) (i32.const 31)))
    (if (i32.lt_u (local.get $first) (i32.const 24)) (then (return (local.get $first))))
    (local.set $width (i32.shl (i32.const 1) (i32.sub (local.get $first) (i32.const 24))))
    (global.set $next (i32.add (local.get $at) (local.get $width)))
    (loop $digit
      (local.set $value (i32.or (i32.shl (local.get $value) (i32.const 8)) (i32.load8_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $digit (i32.lt_u (local.get $at) (global.get $next))))
    (local.get $value))

  (func (export "pangea_handle") (param $event i32) (param $event_len i32) (result i64)
    (local $name i32) (local $at i32) (local $len i32) (local $word i32)
    (local.set $name (i32.load8_u offset=2 (local.get $event)))
    ;; ["started", me, snapshot, config, …]
    (if (i32.and (i32.eq (local.get $name) (i32.const 115)) (i32.eq (i32.load8_u offset=4 (local.get $event)) (i32.const 97)))
      (then (call $started (i32.add (local.get $event) (i32.const 43))) (return (i64.const 0))))
    ;; ["ask", request, "NAME INPUT"]
    (if (i32.ne (local.get $name) (i32.const 97)) (then (return (i64.const 0))))
    (drop (call $head (i32.add (local.get $event) (i32.const 5))))
    (local.set $len (call $head (global.get $next)))
    (local.set $at (global.get $next))
    (block $end
      (loop $letter
        (br_if $end (i32.ge_u (local.get $word) (local.get $len)))
        (br_if $end (i32.eq (i32.load8_u (i32.add (local.get $at) (local.get $word))) (i32.const 32)))
        (local.set $word (i32.add (local.get $word) (i32.const 1)))
        (br $letter)))
    ;; The input is what follows the space.
    (global.set $input (i32.sub (i32.add (local.get $at) (local.get $word)) (call $base)))
    (global.set $input_len (i32.sub (local.get $len) (local.get $word)))
    (if (global.get $input_len)
      (then
        (global.set $input (i32.add (global.get $input) (i32.const 1)))
        (global.set $input_len (i32.sub (global.get $input_len) (i32.const 1)))))
    (local.set $word (call $call (local.get $at) (local.get $word)))
    ;; What it calls an error is an answer as well, since it was asked for.
    (if (i32.and (i32.ne (local.get $word) (i32.const 0)) (i64.ne (global.get $error) (i64.const 0)))
      (then
        (global.set $output (i32.wrap_i64 (global.get $error)))
        (global.set $output_len (i32.wrap_i64 (call $length (global.get $error)))))
      (else (if (local.get $word) (then unreachable))))
    (i64.or
      (i64.shl (i64.extend_i32_u (i32.add (call $base) (global.get $output))) (i64.const 32))
      (i64.extend_i32_u (global.get $output_len))))

  ;; Keeps the settings. Their addresses do not change: entries are added behind them.
  (func $started (param $at i32)
    (local $pairs i32) (local $key i32) (local $key_len i32) (local $len i32)
    (local.set $len (call $head (local.get $at)))
    (local.set $at (global.get $next))
    (if (i32.gt_s (local.get $len) (i32.const 0)) (then (local.set $at (i32.add (local.get $at) (local.get $len)))))
    (local.set $pairs (call $head (local.get $at)))
    (local.set $at (global.get $next))
    (block $done
      (loop $pair
        (br_if $done (i32.eqz (local.get $pairs)))
        (local.set $key_len (call $head (local.get $at)))
        (local.set $key (global.get $next))
        (local.set $len (call $head (i32.add (local.get $key) (local.get $key_len))))
        (local.set $at (i32.add (global.get $next) (local.get $len)))
        (call $put (i32.const 1) (local.get $key) (local.get $key_len) (global.get $next) (local.get $len))
        (local.set $pairs (i32.sub (local.get $pairs) (i32.const 1)))
        (br $pair)))))
