h=$1 n=$2 m=$3 d=$4
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH
trap "" HUP
set -f
say() { printf "@boot"; printf " %s" $*; printf "\n"; }
case $d in
"") if [ "$(id -u)" = 0 ]; then d=/var/lib/converge/agent; else d=${XDG_CACHE_HOME:-$HOME/.cache}/converge/agent; fi ;;
"~/"*) d=$HOME/${d#"~/"}/converge-agent ;;
*) d=$d/converge-agent ;;
esac
f=$d/$h
mine() { [ -O "$1" ] && [ ! -L "$1" ]; }
if mine "$d" && mine "$f" && [ -x "$f" ]; then exec "$f" agent "$n" "$m"; fi
umask 077
if ! e=$(mkdir -p "$d" 2>&1); then say fail folder "$d: $e"; exit 1; fi
if ! mine "$d" || ! chmod 700 "$d"; then say fail owner "$d"; exit 1; fi
z=raw
if command -v gzip >/dev/null; then z=gzip; fi
say need "$(uname -m)" "$(uname -s)" $z "$d"
read -r w s || exit 0
t=$d/.$h.$$
clean() { rm -f "$t"; }
clean
set -C
trap clean EXIT
trap "exit 1" TERM INT
if [ "$w" = gzip ]; then e=$( { head -c "$s" | gzip -dc >"$t"; } 2>&1)
else e=$( { head -c "$s" >"$t"; } 2>&1); fi
c=$(sha256sum "$t" 2>/dev/null)
if [ "${c%% *}" != "$h" ]; then say fail write "$d: $e"; exit 1; fi
sync "$t" 2>/dev/null
chmod 700 "$t"
if ! e=$("$t" --version 2>&1); then say fail run "$d: $e"; exit 1; fi
if ! e=$(mv -f "$t" "$f" 2>&1); then say fail write "$d: $e"; exit 1; fi
trap - EXIT TERM INT
p=$(echo "$h" | tr 0-9a-f "?")
find "$d" -maxdepth 1 -type f -mtime +7 ! -name "$h" \( -name "$p" -o -name ".$p.*" \) -exec rm -f {} + 2>/dev/null
if mine "$d" && mine "$f"; then exec "$f" agent "$n" "$m"; fi
say fail owner "$d"
