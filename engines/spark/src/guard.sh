# Runs "$@" under a guard, both in this shell's process group. Standard input is a pipe that the scheduler holds: when
# the scheduler ends, however it does, the guard reads its end and kills the group. A group that was asked to end by
# SIGTERM is killed once the program has ended, so that nothing of it stays behind.
exec 3<&0 </dev/null
{ trap '' TERM; read -r _; kill -KILL 0; } <&3 3<&- >/dev/null 2>&1 &
guard=$!
exec 3<&-
stopped=
trap 'stopped=1' TERM
"$@"
status=$?
if [ -n "$stopped" ]; then kill -KILL 0; fi
kill -KILL "$guard"
exit "$status"
