#!/bin/sh
#
# Chromium as tests and measurements start it, $CHROMIUM_NICE behind whatever else wants processors.

# A test's browser can wait, a scrape that has 100 ms cannot. Playwright starts it as a session of its
# own, and Linux shares processors among sessions first (sched_autogroup), so that `nice` alone would
# change nothing.
niceness=${CHROMIUM_NICE:-0}
if [ -w /proc/self/autogroup ]; then
    echo "$niceness" >/proc/self/autogroup
fi

# Each page of a test has a window of its own, and Chromium prepares the list below the address bar of
# each, which nobody sees: as much work as zaidash's page. Of the same switch only the last one counts.
for argument; do
    shift
    case $argument in
    --disable-features=*) argument=$argument,WebUIOmniboxPopup,WebUIOmniboxAimPopup ;;
    esac
    set -- "$@" "$argument"
done

exec nice -n "$niceness" /usr/bin/chromium "$@"
