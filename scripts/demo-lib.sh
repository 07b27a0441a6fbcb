# What the demonstrations share: a place that is removed at the end, how steps are
# shown, an instance, and the program. Sourced by demo.sh and demo-release.sh, in the
# root of the source.
work=$(mktemp -d)
server=
# ended waits until the server has.
ended() { while kill -0 "$server" 2>/dev/null; do sleep 0.05; done; }
cleanup() {
	if [ -n "$server" ]; then
		kill -TERM "$server" 2>/dev/null || true
		ended
	fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

bold=; dim=; plain=
if [ -t 1 ]; then bold=$'\e[1m'; dim=$'\e[2m'; plain=$'\e[0m'; fi
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# say prints a command as one would type it; show also runs it.
say() { printf '%s$ %s%s\n' "$dim" "$*" "$plain"; }
show() { say "$@"; "$@"; }
# serve starts the instance in the background, as one would in a second terminal.
serve() {
	say sigbox serve "$@"
	: >serve.out # before the wait below: what the last server said does not count
	sigbox serve "$@" >serve.out 2>>serve.log &
	server=$!
	disown "$server" # the shell is not to report its end
	for _ in $(seq 100); do
		grep -q 'is ready' serve.out && return
		if ! kill -0 "$server" 2>/dev/null; then
			cat serve.out serve.log >&2
			exit 1
		fi
		sleep 0.1
	done
	echo "demo: the instance was not ready in 10 s" >&2
	exit 1
}
# refuse runs a command that has to end with exit status 1: not verified.
refuse() {
	local status=0
	show "$@" || status=$?
	if [ "$status" -ne 1 ]; then
		echo "demo: expected exit status 1 (not verified), found $status" >&2
		exit 1
	fi
	printf '%s(exit status 1)%s\n' "$dim" "$plain"
}

source=$PWD
step "Building sigbox"
show make --no-print-directory build
PATH=$source/bin:$PATH
# The demo's trust is its own; yours in \$HOME is not touched.
export SIGBOX_HOME=$work/home

cd "$work"
