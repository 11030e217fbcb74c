// The table as CSV and JSON, and the papers as BibTeX, made here: nothing is fetched.

function csvText() {
  const quoted = (value) => {
    if (value === null) return "";
    if (value === true || value === false) return value ? "True" : "False";
    // Text that a spreadsheet would compute; numbers stay numbers.
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [data.frame.columns, ...data.frame.rows].map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

function jsonText() {
  const objects = data.frame.rows.map((line) => Object.fromEntries(data.frame.columns.map((name, index) => [name, line[index]])));
  return `${JSON.stringify({ skill_bench: data.version, rows: objects }, null, 1)}\n`;
}

function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

for (const [name, type, label, text] of [
  ["skill-bench.csv", "text/csv", "Table as CSV", csvText],
  ["skill-bench.json", "application/json", "Table as JSON", jsonText],
  ["skill-bench.bib", "application/x-bibtex", "Sources as BibTeX", () => data.bibliography],
]) byId("downloads-body").append(el("button", { type: "button", "data-file": name, onclick: () => save(name, type, text()) }, label));
