// Pictures: sheets of tiles, decoded when they are first looked at, and maps coloured by a palette.

const DECODED_SHEETS = 16;

class Pictures {
  constructor(data) {
    this.videos = data.videos;
    this.layers = new Map(data.layers.map((layer) => [layer.name, layer]));
    this.grid = data.grid;
    this.palette = Uint8Array.from(atob(data.palette), (character) => character.charCodeAt(0));
    this.decoded = new Map();
  }

  // The place of the newest kept frame that is not later than a row of the video.
  position(video, row) {
    const kept = this.videos[video].kept;
    if (kept === null) return row;
    let low = 0;
    let high = kept.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (kept[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  place(position) {
    const tile = position % this.grid.tiles;
    return {
      sheet: Math.floor(position / this.grid.tiles),
      column: tile % this.grid.columns,
      row: Math.floor(tile / this.grid.columns),
    };
  }

  // The image of a sheet; null where there is none.
  sheet(layer, video, number) {
    const id = `sheet-${layer}-${video}-${number}`;
    let promise = this.decoded.get(id);
    if (promise === undefined) {
      const element = document.getElementById(id);
      if (element === null) return null;
      const image = new Image();
      image.src = `data:image/webp;base64,${element.textContent}`;
      promise = image.decode().then(() => image);
    }
    this.decoded.delete(id);
    this.decoded.set(id, promise);
    if (this.decoded.size > DECODED_SHEETS) this.decoded.delete(this.decoded.keys().next().value);
    return promise;
  }

  // Draws a frame's picture on a canvas, unless another one is asked for before it is decoded.
  async draw(canvas, name, video, row) {
    const layer = this.layers.get(name);
    const position = this.position(video, row);
    const place = this.place(position);
    const asked = `${video}-${position}`;
    canvas.dataset.asked = asked;
    const image = await this.sheet(name, video, place.sheet);
    this.sheet(name, video, place.sheet + 1);
    if (canvas.dataset.asked !== asked) return;
    const context = canvas.getContext("2d", { willReadFrequently: layer.palette });
    context.imageSmoothingQuality = "high";
    const { width, height } = layer;
    context.drawImage(
      image, place.column * width, place.row * height, width, height, 0, 0, canvas.width, canvas.height,
    );
    if (layer.palette) this.colour(context, canvas.width, canvas.height);
    const kept = this.videos[video].kept;
    canvas.dataset.drawn = String(this.videos[video].frames[kept === null ? position : kept[position]]);
  }

  // Replaces the grey of each pixel by the palette's colour.
  colour(context, width, height) {
    const pixels = context.getImageData(0, 0, width, height);
    for (let at = 0; at < pixels.data.length; at += 4) {
      const entry = 3 * pixels.data[at];
      pixels.data[at + 1] = this.palette[entry + 1];
      pixels.data[at + 2] = this.palette[entry + 2];
      pixels.data[at] = this.palette[entry];
    }
    context.putImageData(pixels, 0, 0);
  }

  drawLegend(canvas) {
    const context = canvas.getContext("2d");
    const ramp = context.createImageData(256, 1);
    for (let value = 0; value < 256; value++) {
      ramp.data.set(this.palette.subarray(3 * value, 3 * value + 3), 4 * value);
      ramp.data[4 * value + 3] = 255;
    }
    context.putImageData(ramp, 0, 0);
  }
}
