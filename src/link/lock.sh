p=$1 o=$2 b=$3 n=${4:-converge} w=$5
say() { printf "@lock %s\n" "$*"; }
case $(stat -f -c %T "$p" 2>/dev/null) in fuse*) ;; *) say none; exit 0 ;; esac
l=$p/priv/lock/$n f=$p/priv/$n-owner
who() { cat "$f" 2>/dev/null; }
t=
if [ "$b" = break ] && [ -d "$l" ]; then t=5; say broke "$(who)"; rmdir "$l" 2>/dev/null; fi
if [ "$b" = resume ] && [ "$(who)" = "$w" ]; then rmdir "$l" 2>/dev/null; fi
i=0
until e=$(mkdir "$l" 2>&1); do
  if [ ! -d "$l" ]; then say fail "$e"; exit 1; fi
  i=$((i + 1))
  if [ $i -gt 2 ]; then say busy "$(who)"; exit 1; fi
  touch -d @0 "$l" 2>/dev/null
  sleep 1
done
printf "%s\n" "$o" >"$f.tmp.$$" && mv -f "$f.tmp.$$" "$f"
k=
free() {
  trap - EXIT
  [ -z "$k" ] || kill "$k" 2>/dev/null
  if [ "$(who)" = "$o" ]; then rm -f "$f"; rmdir "$l" 2>/dev/null; fi
  exit 0
}
trap free EXIT HUP TERM INT
[ -z "$t" ] || sleep "$t"
keep() {
  trap - EXIT HUP TERM INT
  i=0 x=0
  while sleep 2 >/dev/null; do
    c=$(who)
    if [ -n "$c" ] && [ "$c" != "$o" ]; then say lost "$c"; exit 0; fi
    i=$((i + 1))
    [ $((i % 10)) = 0 ] || continue
    if touch -c "$l" && [ -d "$l" ] || mkdir "$l"; then x=0; continue; fi
    x=$((x + 1))
    if [ $x -ge 3 ]; then say stale; exit 0; fi
  done
}
keep 2>/dev/null </dev/null &
k=$!
say held
cat >/dev/null
