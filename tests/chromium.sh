#!/bin/sh
#
# Chromium that leaves the processors to whatever else wants them: a test's browser can wait, a scrape
# that has 100 ms cannot. Playwright starts it as a session of its own, and Linux shares processors
# among sessions first (sched_autogroup), so that `nice` alone would change nothing.

[ -w /proc/self/autogroup ] && echo 5 >/proc/self/autogroup
exec nice -n 5 /usr/bin/chromium "$@"
