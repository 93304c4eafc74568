// The largest equal tiles that fit: try every number of columns.

const RATIO = 16 / 9;
const GAP_PX = 10;

/** `{columns, width, height}` in px for `count` tiles in a box. */
export function bestGrid(count, boxWidth, boxHeight) {
  let best = { columns: 1, width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const widthMax = (boxWidth - GAP_PX * (columns - 1)) / columns;
    const heightMax = (boxHeight - GAP_PX * (rows - 1)) / rows;
    const width = Math.floor(Math.min(widthMax, heightMax * RATIO));
    if (width > best.width) best = { columns, width, height: Math.floor(width / RATIO) };
  }
  return best;
}

/** Keeps the tiles of `grid` as large as they can be, on every change of size or number. */
export function keepLaidOut(grid) {
  const lay = () => {
    const count = grid.childElementCount;
    if (!count || !grid.clientWidth) return;
    const { width, height } = bestGrid(count, grid.clientWidth, grid.clientHeight);
    grid.style.setProperty('--tile-width', `${Math.max(96, width)}px`);
    grid.style.setProperty('--tile-height', `${Math.max(54, height)}px`);
  };
  new ResizeObserver(lay).observe(grid);
  new MutationObserver(lay).observe(grid, { childList: true });
  return lay;
}
