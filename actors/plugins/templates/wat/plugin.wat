;; The greatest word that anyone has said: every node keeps it, and tells the others.
;;
;; A plugin exports `memory`, `alloc` and `handle`. `handle` is called with one event at a time, an array in CBOR
;; (docs/plugins.md has all of them); what the plugin wants it says with `send`, an array as well. What `handle` returns
;; answers whoever asked.
(module
  (import "pangea" "send" (func $send (param $ptr i32) (param $len i32)))
  (memory (export "memory") 2)

  ;; The action ["tell", word]: its beginning, then the length of the word at 23, then the word at 24. The first word is
  ;; a dot, which comes before all others.
  (data (i32.const 16) "\82\64tell\58\01.")
  ;; The action ["snapshot", word], likewise: the length at 523, the word at 524.
  (data (i32.const 512) "\82\68snapshot\58\00")

  ;; Where the last byte string was found.
  (global $at (mut i32) (i32.const 0))
  (global $len (mut i32) (i32.const 0))

  ;; Room for an event: always the same, since one is handled at a time.
  (func (export "alloc") (param $len i32) (result i32)
    (drop (memory.grow (i32.shr_u (local.get $len) (i32.const 16))))
    (i32.const 65536))

  ;; Finds the byte string at $at, of up to 255 bytes; a longer one, or something else, is taken for an empty one.
  (func $bytes (param $at i32)
    (local $head i32)
    (local.set $head (i32.sub (i32.load8_u (local.get $at)) (i32.const 0x40)))
    (global.set $at (i32.add (local.get $at) (i32.const 1)))
    (global.set $len (i32.const 0))
    (if (i32.lt_u (local.get $head) (i32.const 24)) (then (global.set $len (local.get $head))))
    (if (i32.eq (local.get $head) (i32.const 24))
      (then
        (global.set $len (i32.load8_u (global.get $at)))
        (global.set $at (i32.add (global.get $at) (i32.const 1))))))

  ;; Does the word that was found come after the one that is kept?
  (func $is_greater (result i32)
    (local $i i32) (local $kept i32) (local $new i32)
    (local.set $kept (i32.load8_u (i32.const 23)))
    (loop $next
      (if (i32.ge_u (local.get $i) (global.get $len)) (then (return (i32.const 0))))
      (if (i32.ge_u (local.get $i) (local.get $kept)) (then (return (i32.const 1))))
      (local.set $new (i32.load8_u (i32.add (global.get $at) (local.get $i))))
      (local.set $kept (i32.load8_u offset=24 (local.get $i)))
      (if (i32.gt_u (local.get $new) (local.get $kept)) (then (return (i32.const 1))))
      (if (i32.lt_u (local.get $new) (local.get $kept)) (then (return (i32.const 0))))
      (local.set $kept (i32.load8_u (i32.const 23)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next))
    unreachable)

  (func $keep
    (i32.store8 (i32.const 23) (global.get $len))
    (memory.copy (i32.const 24) (global.get $at) (global.get $len)))

  (func $tell
    (call $send (i32.const 16) (i32.add (i32.load8_u (i32.const 23)) (i32.const 8))))

  (func $save
    (memory.copy (i32.const 523) (i32.const 23) (i32.const 256))
    (call $send (i32.const 512) (i32.add (i32.load8_u (i32.const 23)) (i32.const 12))))

  ;; A word was heard: if it is greater, it is kept, saved, and passed on.
  (func $hear
    (if (call $is_greater) (then (call $keep) (call $save) (call $tell))))

  (func (export "handle") (param $event i32) (param $len i32) (result i64)
    (local $name i32)
    ;; The third and fourth letters of an event begin their names: "sta…" and "mes…", "ask", "con…".
    (local.set $name (i32.load8_u offset=2 (local.get $event)))
    ;; ["started", me, snapshot, …]: the snapshot follows a name of 7 bytes and an identity of 32.
    (if (i32.and (i32.eq (local.get $name) (i32.const 115)) (i32.eq (i32.load8_u offset=4 (local.get $event)) (i32.const 97)))
      (then
        (call $bytes (i32.add (local.get $event) (i32.const 43)))
        (if (call $is_greater) (then (call $keep)))
        (call $tell)))
    ;; ["message", peer, word]
    (if (i32.eq (local.get $name) (i32.const 109))
      (then (call $bytes (i32.add (local.get $event) (i32.const 43))) (call $hear)))
    ;; ["connected", peer]
    (if (i32.eq (local.get $name) (i32.const 99)) (then (call $tell)))
    ;; ["ask", request, "say WORD" or "show"]
    (if (i32.eq (local.get $name) (i32.const 97)) (then (return (call $ask (i32.add (local.get $event) (i32.const 5))))))
    (i64.const 0))

  (func $ask (param $at i32) (result i64)
    (local $width i32)
    ;; An integer is a byte, and 1, 2, 4 or 8 more if the byte is 24 to 27.
    (local.set $width (i32.sub (i32.load8_u (local.get $at)) (i32.const 24)))
    (if (i32.lt_u (local.get $width) (i32.const 4))
      (then (local.set $at (i32.add (local.get $at) (i32.shl (i32.const 1) (local.get $width))))))
    (call $bytes (i32.add (local.get $at) (i32.const 1)))
    ;; "say " is longer than nothing, and its second letter is an a.
    (if (i32.and (i32.gt_u (global.get $len) (i32.const 4)) (i32.eq (i32.load8_u offset=1 (global.get $at)) (i32.const 97)))
      (then
        (global.set $at (i32.add (global.get $at) (i32.const 4)))
        (global.set $len (i32.sub (global.get $len) (i32.const 4)))
        (call $hear)))
    ;; Either is answered with the word that is kept now: it is at 24.
    (i64.or (i64.shl (i64.const 24) (i64.const 32)) (i64.load8_u (i32.const 23)))))
