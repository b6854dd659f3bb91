"use strict";
/* What the page does once its script runs: a picture that one zooms into, and a table that sorts. It shows the numbers
   of the page, which are packed as writers/report_sources.py says, and fetches nothing.

   Positions in the picture are pixels of the image from its upper left corner, whatever the order of its rows. */
(async () => {
  const PER_PAGE = 50;
  const MOST_ZOOM = 40, SEEN = 16, LEAP = 10; // screen pixels a pixel; of a chosen source's semi-axis; times the whole image's
  const MILLISECONDS = 8, AT_A_TIME = 250; // of drawing ellipses before the next frame; ellipses between looks at the clock
  const AS_DOT = 1.3, REACH = 7; // screen pixels: radius below which an ellipse is a dot, and from which a pointer is on it
  const ELLIPSES = "#ff5147", CHOSEN = "#ffd23f", POINTED = "#4fd8ff";

  const get = (id) => document.getElementById(id);
  const run = JSON.parse(get("run").textContent);
  let columns;
  try {
    columns = await unpacked(get("packed").textContent, run.columns);
  } catch {
    get("old").hidden = false;
    return;
  }
  const number = columns.get("label").values.length;
  const calls = new Intl.NumberFormat("en");

  /* --- Numbers ------------------------------------------------------------------------------------------------- */

  async function unpacked(text, described) {
    const packed = atob(text.trim());
    const bytes = new Uint8Array(packed.length);
    for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const plain = new Uint8Array(await new Response(stream).arrayBuffer());
    const kinds = {f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array, u2: Uint16Array};
    const found = new Map();
    let start = 0;
    for (const column of described) {
      const Kind = kinds[column.kind], size = Kind.BYTES_PER_ELEMENT, count = column.number;
      const values = new Uint8Array(count * size);
      for (let byte = 0; byte < size; byte++) {
        for (let i = 0; i < count; i++) values[i * size + byte] = plain[start + byte * count + i];
      }
      start += count * size;
      found.set(column.name, {...column, values: new Kind(values.buffer)});
    }
    return found;
  }

  const valueOf = (column, source) => column.values[source] / (column.scale || 1);

  function textOf(column, source) {
    const value = valueOf(column, source);
    if (!Number.isFinite(value)) return "NaN";
    if (column.decimals !== undefined) return value.toFixed(column.decimals);
    return column.digits === undefined ? String(value) : String(Number(value.toPrecision(column.digits)));
  }

  function flagsOf(source) {
    return run.flags.filter(([name, bit]) => columns.get(name).values[source] & bit).map(([, , words]) => words).join("; ");
  }

  const withUnit = (text, unit) => unit ? `${text} ${unit}` : text;

  function sexagesimal(degrees, perUnit, digits, marks, signed) {
    const scale = 10 ** digits;
    let rest = Math.round(Math.abs(degrees) / perUnit * 3600 * scale);
    const seconds = rest % (60 * scale);
    rest = (rest - seconds) / (60 * scale);
    const minutes = rest % 60, whole = (rest - minutes) / 60 % (signed ? 1e9 : 24);
    const two = (value) => String(value).padStart(2, "0");
    const fraction = (seconds / scale).toFixed(digits).padStart(3 + digits, "0");
    return `${signed ? (degrees < 0 ? "−" : "+") : ""}${two(whole)}${marks[0]}${two(minutes)}${marks[1]}${fraction}${marks[2]}`;
  }

  /* What a source is, as pairs of words. */
  function facts(source) {
    const column = (name) => columns.get(name), text = (name) => textOf(column(name), source);
    const hasRow = source < run.rows, told = [];
    const add = (name, value) => told.push([name, value]);
    if (column("ra") && Number.isFinite(column("ra").values[source])) {
      const ra = valueOf(column("ra"), source), dec = valueOf(column("dec"), source);
      add("On the sky", `${sexagesimal(ra, 15, 2, "hms", false)} ${sexagesimal(dec, 1, 1, "°′″", true)}`);
      add("RA, Dec", `${text("ra")}, ${text("dec")} deg`);
    }
    for (const [x, y, what] of [["lon", "lat", "Longitude, latitude"], ["map_x", "map_y", "On the map"]]) {
      if (column(x)) add(what, `${text(x)}, ${text(y)}`);
    }
    add("x, y", `${text("x")}, ${text("y")} pix`);
    if (hasRow && column("mag_auto")) add("Magnitude", `${text("mag_auto")} ± ${text("mag_auto_err")}`);
    const error = hasRow ? ` ± ${Number(valueOf(column("flux_auto_err"), source).toPrecision(3))}` : "";
    add("Flux", withUnit(text("flux_auto") + error, column("flux_auto").unit));
    add("S/N", text("snr"));
    if (hasRow) {
      const radius = run.orientation && valueOf(column("flux_radius"), source) * run.orientation.pixel * 3600;
      add("Half-light radius", `${text("flux_radius")} pix${Number.isFinite(radius) && radius ? `, ${radius.toPrecision(3)}″` : ""}`);
    }
    add("Flags", flagsOf(source) || "none");
    return told;
  }

  function list(told) {
    const made = document.createElement("dl");
    for (const [name, value] of told) {
      const pair = made.appendChild(document.createElement("div"));
      pair.appendChild(document.createElement("dt")).textContent = name;
      pair.appendChild(document.createElement("dd")).textContent = value;
    }
    return made;
  }

  const nameOf = (source) => `Source ${columns.get("label").values[source]}`;

  /* --- The picture --------------------------------------------------------------------------------------------- */

  const stage = get("stage"), picture = get("picture"), marks = get("marks"), tip = get("tip");
  const brush = picture.getContext("2d"), marker = marks.getContext("2d");
  const [shownWidth, shownHeight] = run.shown;
  const fromTop = run.rowsFromTop, top = fromTop ? 0 : run.height - shownHeight;
  // Where the sources are in the picture, the semi-axes of their ellipses (3 sigma), and their angles.
  const xs = new Float32Array(number), ys = new Float32Array(number);
  const as = new Float32Array(number), bs = new Float32Array(number), angles = new Float32Array(number);
  for (let i = 0; i < number; i++) {
    const y = valueOf(columns.get("y"), i) + 0.5;
    xs[i] = valueOf(columns.get("x"), i) + 0.5;
    ys[i] = fromTop ? y : run.height - y;
    as[i] = 3 * columns.get("drawn_a").values[i];
    bs[i] = 3 * columns.get("drawn_b").values[i];
    angles[i] = valueOf(columns.get("drawn_angle"), i) * Math.PI / 180 * (fromTop ? 1 : -1);
  }
  const view = {scale: 1, left: 0, top: 0}; // screen pixels a pixel, and what is in the upper left corner
  let width = 0, height = 0, least = 1;
  let passes = new Uint8Array(number).fill(1);
  let chosen = -1, pointed = -1, layer = "", frame = 0, next = number, moved = true;

  const toScreen = (x, y) => [(x - view.left) * view.scale, (y - view.top) * view.scale];

  function resize() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2), room = `${stage.clientWidth} ${window.innerHeight} ${ratio}`;
    if (resize.room === room) return;
    resize.room = room;
    const whole = width === 0 || view.scale <= least * 1.001;
    width = stage.clientWidth;
    height = Math.round(Math.max(200, Math.min(width * run.height / run.width, window.innerHeight * 0.72)));
    stage.style.height = `${height}px`;
    for (const canvas of [picture, marks]) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
    }
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    marker.setTransform(ratio, 0, 0, ratio, 0, 0);
    least = Math.min(width / run.width, height / run.height);
    if (whole) showAll(); else look(view.scale, view.left, view.top);
  }

  /* Every change of the view comes through here. */
  function look(scale, left, top) {
    view.scale = Math.min(Math.max(scale, least), Math.max(least, MOST_ZOOM));
    const place = (at, side, room) => {
      const seen = room / view.scale;
      return seen >= side ? (side - seen) / 2 : Math.min(Math.max(at, 0), side - seen);
    };
    view.left = place(left, run.width, width);
    view.top = place(top, run.height, height);
    stage.dataset.zoom = (view.scale / least).toFixed(3);
    draw();
    if (get("seen").checked) later(refilter);
  }

  const showAll = () => look(least, 0, 0);

  function zoom(factor, x = width / 2, y = height / 2) {
    const scale = Math.min(Math.max(view.scale * factor, least), Math.max(least, MOST_ZOOM));
    look(scale, view.left + x / view.scale - x / scale, view.top + y / view.scale - y / scale);
  }

  const move = (dx, dy) => look(view.scale, view.left + dx / view.scale, view.top + dy / view.scale);

  function draw() {
    moved = true;
    if (!frame) frame = requestAnimationFrame(step);
  }

  /* A frame: the picture anew where it was moved, and as many more ellipses as there is time for, the brightest first. */
  function step() {
    frame = 0;
    if (moved) {
      drawPicture();
      drawMarks();
      moved = false;
      next = get("with-ellipses").checked ? 0 : number;
    }
    drawEllipses(performance.now() + MILLISECONDS);
    stage.dataset.drawn = next >= number ? "all" : "";
    if (next < number) frame = requestAnimationFrame(step);
  }

  function drawPicture() {
    brush.fillStyle = getComputedStyle(stage).backgroundColor;
    brush.fillRect(0, 0, width, height);
    const uppermost = get(`layer-${layer}`);
    for (const image of [get(`layer-${uppermost?.dataset.over}`), uppermost]) {
      if (!image || !image.complete || !image.naturalWidth) continue;
      brush.imageSmoothingEnabled = view.scale * shownWidth / image.naturalWidth < 2;
      const [x, y] = toScreen(0, top);
      brush.drawImage(image, x, y, shownWidth * view.scale, shownHeight * view.scale);
    }
  }

  function drawEllipses(until) {
    brush.strokeStyle = brush.fillStyle = ELLIPSES;
    // Where there are many, the picture is to be seen through them.
    const many = number > 2000 && view.scale < 4 * least;
    brush.lineWidth = many ? 0.8 : 1.3;
    brush.globalAlpha = many ? 0.55 : 1;
    while (next < number && performance.now() < until) {
      brush.beginPath();
      const dots = [];
      for (const end = Math.min(next + AT_A_TIME, number); next < end; next++) {
        if (!passes[next]) continue;
        const x = (xs[next] - view.left) * view.scale, y = (ys[next] - view.top) * view.scale;
        const a = as[next] * view.scale, reach = a > AS_DOT ? a : AS_DOT;
        if (x < -reach || y < -reach || x > width + reach || y > height + reach) continue;
        if (!(a > AS_DOT)) {
          dots.push(x, y);
          continue;
        }
        brush.moveTo(x + a * Math.cos(angles[next]), y + a * Math.sin(angles[next]));
        brush.ellipse(x, y, a, bs[next] * view.scale, angles[next], 0, 2 * Math.PI);
      }
      brush.stroke();
      for (let i = 0; i < dots.length; i += 2) brush.fillRect(dots[i] - 0.7, dots[i + 1] - 0.7, 1.4, 1.4);
    }
    brush.globalAlpha = 1;
  }

  function drawMarks() {
    marker.clearRect(0, 0, width, height);
    for (const [source, color] of [[pointed, POINTED], [chosen, CHOSEN]]) {
      if (source < 0) continue;
      const [x, y] = toScreen(xs[source], ys[source]);
      marker.strokeStyle = color;
      marker.lineWidth = 2;
      marker.beginPath();
      const a = Math.max(as[source] * view.scale || 0, 5), b = Math.max(bs[source] * view.scale || 0, 5);
      marker.ellipse(x, y, a, b, angles[source], 0, 2 * Math.PI);
      for (const [dx, dy] of source === chosen ? [[1, 0], [-1, 0], [0, 1], [0, -1]] : []) {
        marker.moveTo(x + dx * (a + 4), y + dy * (a + 4));
        marker.lineTo(x + dx * (a + 14), y + dy * (a + 14));
      }
      marker.stroke();
    }
    drawScale();
    drawCompass();
  }

  function lined(paint) {
    for (const [color, thick] of [["rgba(0,0,0,0.75)", 4.5], ["#ffffff", 1.8]]) {
      marker.strokeStyle = marker.fillStyle = color;
      marker.lineWidth = thick;
      marker.lineJoin = marker.lineCap = "round";
      paint(thick > 2);
    }
  }

  function write(text, x, y, outline, align) {
    marker.font = "600 13px system-ui, sans-serif";
    marker.textAlign = align;
    marker.textBaseline = "middle";
    if (outline) marker.strokeText(text, x, y); else marker.fillText(text, x, y);
  }

  /* A bar of a round length, on the sky where that is known. */
  function drawScale() {
    const arcsec = run.orientation ? run.orientation.pixel * 3600 : 0, most = Math.min(160, width / 4) / view.scale * (arcsec || 1);
    let steps = [1, 2, 5], factor = 10 ** Math.floor(Math.log10(most)), text = "pix";
    if (arcsec && most >= 3600) [factor, text] = [3600 * 10 ** Math.floor(Math.log10(most / 3600)), "°"];
    else if (arcsec && most >= 60) [factor, text, steps] = [60, "′", [1, 2, 5, 10, 20, 30]];
    else if (arcsec) [factor, text, steps] = most >= 1 ? [1, "″", [1, 2, 5, 10, 20, 30]] : [factor, "″", steps];
    const length = Math.max(...steps.map((one) => one * factor).filter((one) => one <= most * 1.001));
    const shown = Number((length / (text === "°" ? 3600 : text === "′" ? 60 : 1)).toPrecision(3));
    const pixels = length / (arcsec || 1) * view.scale, y = height - 16;
    lined((outline) => {
      marker.beginPath();
      marker.moveTo(16, y - 4);
      marker.lineTo(16, y);
      marker.lineTo(16 + pixels, y);
      marker.lineTo(16 + pixels, y - 4);
      marker.stroke();
      write(`${shown}${text === "pix" ? " pixels" : text}`, 16 + pixels / 2, y - 13, outline, "center");
    });
  }

  function drawCompass() {
    if (!run.orientation || width < 260) return;
    const x = width - 46, y = 50;
    lined((outline) => {
      for (const [name, [dx, dy]] of [["N", run.orientation.north], ["E", run.orientation.east]]) {
        const ex = 26 * dx, ey = 26 * dy * (fromTop ? 1 : -1);
        marker.beginPath();
        marker.moveTo(x, y);
        marker.lineTo(x + ex, y + ey);
        marker.stroke();
        write(name, x + ex * 1.4, y + ey * 1.4, outline, "center");
      }
    });
  }

  /* The source under a pointer: the one whose ellipse, or a reach around it, it is deepest in; -1 for none. */
  function sourceAt(x, y) {
    let nearest = 1, found = -1;
    for (let i = 0; i < number; i++) {
      if (!passes[i]) continue;
      const dx = x - (xs[i] - view.left) * view.scale, dy = y - (ys[i] - view.top) * view.scale;
      const a = Math.max(as[i] * view.scale || 0, REACH);
      if (Math.abs(dx) > a || Math.abs(dy) > a) continue;
      const b = Math.max(bs[i] * view.scale || 0, REACH), cos = Math.cos(angles[i]), sin = Math.sin(angles[i]);
      const away = Math.hypot((dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b);
      if (away < nearest) [nearest, found] = [away, i];
    }
    return found;
  }

  function point(source, x = 0, y = 0) {
    tip.hidden = source < 0;
    if (source !== pointed) {
      pointed = source;
      drawMarks();
      if (source >= 0) {
        tip.replaceChildren(Object.assign(document.createElement("strong"), {textContent: nameOf(source)}), list(facts(source)));
        say(source);
      }
      tip.dataset.source = source < 0 ? "" : columns.get("label").values[source];
    }
    if (source >= 0) {
      tip.style.left = `${Math.max(4, x + 18 + tip.offsetWidth > width ? x - 18 - tip.offsetWidth : x + 18)}px`;
      tip.style.top = `${Math.max(4, Math.min(y + 14, height - tip.offsetHeight - 4))}px`;
    }
  }

  const say = (source) => {
    get("live").textContent = `${nameOf(source)}. ${facts(source).map((pair) => pair.join(": ")).join(". ")}.`;
  };

  /* --- Choosing ------------------------------------------------------------------------------------------------ */

  /* Choose a source, in the picture and in the table; `approach` moves the picture to it. */
  function choose(source, approach) {
    chosen = source;
    if (source < 0) {
      get("chosen").replaceChildren();
    } else {
      const title = Object.assign(document.createElement("h3"), {textContent: nameOf(source)});
      get("chosen").replaceChildren(title, list(facts(source)), wholeRow(source));
      say(source);
      if (approach) goTo(source);
      const at = ordered.indexOf(source);
      if (at >= 0) page = Math.floor(at / PER_PAGE);
    }
    drawMarks();
    fill();
    const row = document.querySelector("#rows tr[aria-current]");
    if (row) {
      const box = row.closest(".table");
      const above = row.offsetTop - document.querySelector("#rows thead").offsetHeight;
      if (above < box.scrollTop || row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = above - 60;
    }
  }

  function goTo(source) {
    const large = SEEN / (as[source] || 3);
    const scale = Math.min(Math.max(view.scale, Math.min(large, LEAP * least)), Math.max(least, MOST_ZOOM));
    look(scale, xs[source] - width / 2 / scale, ys[source] - height / 2 / scale);
  }

  function wholeRow(source) {
    const made = document.createElement("details");
    made.open = choose.opened === true;
    made.addEventListener("toggle", () => { choose.opened = made.open; });
    const title = made.appendChild(document.createElement("summary"));
    if (source >= run.rows) {
      title.textContent = `Only the ${calls.format(run.rows)} brightest have all columns here; catalog.tsv has them of all`;
      return made;
    }
    title.textContent = `All ${run.order.length} columns`;
    const table = made.appendChild(document.createElement("table"));
    for (const column of run.order.map((name) => columns.get(name))) {
      const row = table.insertRow();
      row.appendChild(Object.assign(document.createElement("th"), {scope: "row", textContent: column.name}));
      row.insertCell().textContent = textOf(column, source);
      row.insertCell().textContent = column.unit;
      row.insertCell().textContent = column.description;
    }
    return made;
  }

  /* --- The table ----------------------------------------------------------------------------------------------- */

  const FLAGS = "flags";
  const head = document.querySelector("#rows thead tr"), rows = document.querySelector("#rows tbody");
  let ordered = [], page = 0, by = "flux_auto", descending = true;

  function keyOf(source) {
    if (by === FLAGS) return columns.get("flag").values[source] + 256 * columns.get("flag_phot").values[source];
    return valueOf(columns.get(by), source);
  }

  function reorder() {
    const keys = new Float64Array(run.rows);
    ordered = [];
    for (let i = 0; i < run.rows; i++) {
      keys[i] = keyOf(i);
      if (passes[i] && (!get("seen").checked || inView(i))) ordered.push(i);
    }
    const sign = descending ? -1 : 1;
    // What has no value is last, whichever the order.
    ordered.sort((one, other) => {
      const [a, b] = [keys[one], keys[other]];
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || one - other;
      return sign * (a - b) || one - other;
    });
    for (const [index, cell] of [...head.cells].entries()) {
      const name = index < run.table.length ? run.table[index] : FLAGS;
      if (name === by) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    page = 0;
    fill();
  }

  function inView(i) {
    const [x, y] = toScreen(xs[i], ys[i]);
    return x >= 0 && y >= 0 && x <= width && y <= height;
  }

  function fill() {
    const first = page * PER_PAGE, shown = ordered.slice(first, first + PER_PAGE);
    rows.replaceChildren(...shown.map((source) => {
      const row = document.createElement("tr");
      run.table.forEach((name, index) => {
        const text = textOf(columns.get(name), source);
        if (index) {
          row.insertCell().textContent = text;
          return;
        }
        const cell = row.appendChild(Object.assign(document.createElement("th"), {scope: "row"}));
        const button = Object.assign(document.createElement("button"), {type: "button", textContent: text});
        button.setAttribute("aria-label", `Source ${text}: show it in the picture`);
        cell.appendChild(button);
      });
      row.insertCell().textContent = flagsOf(source);
      row.dataset.source = source;
      if (source === chosen) row.setAttribute("aria-current", "true");
      return row;
    }));
    const last = first + shown.length, of = calls.format(ordered.length);
    get("page").textContent = shown.length ? `${calls.format(first + 1)} to ${calls.format(last)} of ${of}` : "no row";
    get("previous").disabled = page === 0;
    get("next").disabled = last >= ordered.length;
    const all = run.rows < number
      ? `the ${calls.format(run.rows)} brightest of ${calls.format(number)} sources; the picture has all`
      : `${calls.format(number)} source${number === 1 ? "" : "s"}`;
    get("count").textContent = ordered.length === run.rows ? `The table has ${all}.` : `${of} of ${all}.`;
  }

  function refilter() {
    const least = get("least").valueAsNumber, label = get("label").valueAsNumber, flags = get("flags").value;
    const snr = columns.get("snr"), flag = columns.get("flag").values, phot = columns.get("flag_phot").values;
    const [name, bit] = flags.split(":");
    for (let i = 0; i < number; i++) {
      const flagged = name === "none" ? !(flag[i] || phot[i])
        : name === "some" ? flag[i] || phot[i] : !name || columns.get(name).values[i] & Number(bit);
      passes[i] = flagged && (Number.isNaN(least) || valueOf(snr, i) >= least)
        && (Number.isNaN(label) || columns.get("label").values[i] === label) ? 1 : 0;
    }
    reorder();
    draw();
  }

  let waiting = 0;
  function later(what) {
    clearTimeout(waiting);
    waiting = setTimeout(what, 150);
  }

  /* --- What one does ------------------------------------------------------------------------------------------- */

  function show(name) {
    layer = name;
    get("caption").textContent = get(`layer-${name}`).closest("figure").querySelector("figcaption").dataset.plain;
    draw();
  }

  const pointers = new Map();
  let traveled = 0;
  const at = (event) => {
    const box = marks.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  marks.addEventListener("pointerdown", (event) => {
    marks.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    traveled = 0;
  });
  marks.addEventListener("pointermove", (event) => {
    const [x, y] = at(event), before = pointers.get(event.pointerId);
    const [px, py] = [view.left + x / view.scale - 0.5, view.top + y / view.scale - 0.5];
    get("where").textContent = `x ${px.toFixed(1)}, y ${(fromTop ? py : run.height - 1 - py).toFixed(1)}`;
    if (!before) {
      point(sourceAt(x, y), x, y);
      return;
    }
    if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = ([ax, ay]) => Math.hypot(ax - other[0], ay - other[1]);
      zoom(apart([x, y]) / Math.max(apart(before), 1), (x + other[0]) / 2, (y + other[1]) / 2);
    } else {
      move(before[0] - x, before[1] - y);
    }
    traveled += Math.hypot(x - before[0], y - before[1]);
    pointers.set(event.pointerId, [x, y]);
    if (traveled > 4) {
      stage.classList.add("moving");
      point(-1);
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    marks.addEventListener(kind, (event) => {
      const was = pointers.delete(event.pointerId);
      stage.classList.remove("moving");
      if (kind === "pointerup" && was && traveled <= 4) choose(sourceAt(...at(event)), false);
    });
  }
  marks.addEventListener("pointerleave", () => {
    point(-1);
    get("where").textContent = "";
  });
  marks.addEventListener("wheel", (event) => {
    // The whole image lets the page scroll on.
    if (event.deltaY > 0 && view.scale <= least * 1.001) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * lines)) * 0.0025), ...at(event));
    point(-1);
  }, {passive: false});
  marks.addEventListener("dblclick", (event) => zoom(2, ...at(event)));

  function step_through(by) {
    if (!ordered.length) return;
    const here = ordered.indexOf(chosen);
    choose(ordered[here < 0 ? 0 : (here + by + ordered.length) % ordered.length], true);
  }
  const PACE = 60;
  const keys = {
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": showAll,
    ArrowLeft: () => move(-PACE, 0), ArrowRight: () => move(PACE, 0),
    ArrowUp: () => move(0, -PACE), ArrowDown: () => move(0, PACE),
    n: () => step_through(1), p: () => step_through(-1), Escape: () => choose(-1, false),
  };
  marks.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = keys[event.key] || keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });

  get("closer").addEventListener("click", () => zoom(1.5));
  get("farther").addEventListener("click", () => zoom(1 / 1.5));
  get("whole").addEventListener("click", showAll);
  get("with-ellipses").addEventListener("change", draw);
  get("layers").addEventListener("change", (event) => show(event.target.value));
  get("filters").addEventListener("input", () => later(refilter));
  get("filters").addEventListener("reset", () => setTimeout(refilter));
  get("filters").addEventListener("submit", (event) => event.preventDefault());
  get("previous").addEventListener("click", () => { page -= 1; fill(); });
  get("next").addEventListener("click", () => { page += 1; fill(); });
  rows.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row) return;
    const keyboard = document.activeElement.tagName === "BUTTON" && rows.contains(document.activeElement);
    choose(Number(row.dataset.source), true);
    // The row was written anew.
    if (keyboard) document.querySelector("#rows tr[aria-current] button")?.focus({preventScroll: true});
  });
  rows.addEventListener("pointerover", (event) => {
    const row = event.target.closest("tr");
    pointed = row ? Number(row.dataset.source) : -1;
    drawMarks();
  });
  rows.addEventListener("pointerleave", () => { pointed = -1; drawMarks(); });

  /* --- The page becomes a program ------------------------------------------------------------------------------ */

  for (const [index, cell] of [...head.cells].entries()) {
    const name = index < run.table.length ? run.table[index] : FLAGS;
    const button = Object.assign(document.createElement("button"), {type: "button"});
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      [by, descending] = [name, name === by ? !descending : false];
      reorder();
    });
  }
  for (const [name, bit, words] of run.flags) {
    if (columns.get(name).values.some((value) => value & bit)) {
      get("flags").append(Object.assign(document.createElement("option"), {value: `${name}:${bit}`, textContent: words}));
    }
  }
  for (const id of ["explorer", "filters", "pages"]) get(id).hidden = false;
  get("gallery").hidden = true;
  document.body.classList.add("program");
  await Promise.all([...document.querySelectorAll("#gallery img")].map((image) => image.decode().catch(() => {})));
  new ResizeObserver(resize).observe(stage.parentElement);
  window.addEventListener("resize", resize);
  resize();
  show(document.querySelector("#layers input:checked").value);
  reorder();
  document.body.dataset.ready = "true";
})();
