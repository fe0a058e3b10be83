// A worker that ticks. Timers of a page that nobody looks at run once a minute; those of its workers go on, and a knock
// must be heard while staff look at something else.

onmessage = ({ data }) => setInterval(() => postMessage(null), data.every);
