p=$1 o=$2 b=$3 n=${4:-converge}
say() { printf "@lock %s\n" "$*"; }
case $(stat -f -c %T "$p" 2>/dev/null) in fuse*) ;; *) say none; exit 0 ;; esac
l=$p/priv/lock/$n f=$p/priv/$n-owner
if [ "$b" = break ] && [ -d "$l" ]; then say broke "$(cat "$f" 2>/dev/null)"; rmdir "$l" 2>/dev/null; fi
i=0
until e=$(mkdir "$l" 2>&1); do
  if [ ! -d "$l" ]; then say fail "$e"; exit 1; fi
  i=$((i + 1))
  if [ $i -gt 2 ]; then say busy "$(cat "$f" 2>/dev/null)"; exit 1; fi
  touch -d @0 "$l" 2>/dev/null
  sleep 1
done
printf "%s\n" "$o" >"$f.tmp.$$" && mv -f "$f.tmp.$$" "$f"
k=
free() {
  trap - EXIT
  [ -z "$k" ] || kill "$k" 2>/dev/null
  if [ "$(cat "$f" 2>/dev/null)" = "$o" ]; then rm -f "$f"; rmdir "$l" 2>/dev/null; fi
  exit 0
}
trap free EXIT HUP TERM INT
( trap - EXIT HUP TERM INT; while sleep 20; do [ "$(cat "$f" 2>/dev/null)" = "$o" ] && touch "$l" || exit 0; done ) >/dev/null 2>&1 </dev/null &
k=$!
say held
cat >/dev/null
