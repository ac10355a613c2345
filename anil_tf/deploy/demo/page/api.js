// What the page asks of its server. Answers are JSON; what goes wrong becomes an Error whose text can be shown.

export class Refused extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

const FORGOTTEN = 410;
export const isForgotten = (error) => error instanceof Refused && error.status === FORGOTTEN;

export const model = () => send("api/model", {});
export const prepare = (bytes) => post("api/image", "application/octet-stream", bytes);
export const adapt = (images, labels) => postJson("api/adapt", { images, labels });
export const predict = (state, images) => postJson("api/predict", { state, images });
export const confusion = (images, labels) => postJson("api/confusion", { images, labels });

const postJson = (path, fields) => post(path, "application/json", JSON.stringify(fields));

function post(path, type, body) {
  return send(path, { method: "POST", headers: { "Content-Type": type }, body });
}

async function send(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused("The server does not answer. Is bin/demo.py still running?", 0);
  }
  const fields = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (!answer.ok) throw new Refused(fields.error, answer.status);
  return fields;
}
