// Watches every tile, at every frame that the screen gets: which colour (each person's camera shows one of their own)
// stands under which name. What it saw is in window.colours.seen: "name|colour" -> how often.
(colours) => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const nearest = (pixel) => {
    let best = null;
    for (const [name, colour] of Object.entries(colours)) {
      const distance = colour.reduce((sum, value, index) => sum + (value - pixel[index]) ** 2, 0);
      if (best === null || distance < best.distance) best = { name, distance };
    }
    return best.name;
  };
  const watch = { seen: {}, running: true };
  window.colours = watch;
  const look = () => {
    if (!watch.running) return;
    for (const tile of document.querySelectorAll('[data-testid="tile"][data-source="camera"]')) {
      const video = tile.querySelector("video");
      // A tile that isn't live is covered: nobody sees what its video has.
      if (tile.dataset.picture !== "live" || video.readyState < 2 || !video.videoWidth) continue;
      context.drawImage(video, video.videoWidth / 4, video.videoHeight / 4, 8, 8, 0, 0, 1, 1);
      const pixel = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
      const key = `${tile.querySelector(".name").textContent}|${nearest(pixel)}`;
      watch.seen[key] = (watch.seen[key] ?? 0) + 1;
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
