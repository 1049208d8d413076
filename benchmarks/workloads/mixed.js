// The load's Node.js service: JSON, sorting and closures until the seconds are over.
function grow(depth) {
  if (depth === 0) return { leaf: Math.random() };
  return { left: grow(depth - 1), right: grow(depth - 1) };
}

function sum(tree) {
  return tree.leaf ?? sum(tree.left) + sum(tree.right);
}

function sortWords() {
  return Array.from({ length: 500 }, (_, index) => `word${(index * 7919) % 503}`).sort((a, b) => a.localeCompare(b));
}

const end = Date.now() + Number(process.argv[2]) * 1000;
while (Date.now() < end) {
  sum(JSON.parse(JSON.stringify(grow(9))));
  sortWords();
}
