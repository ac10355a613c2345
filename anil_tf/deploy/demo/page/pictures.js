// Pictures as the model sees them: a base64 PNG for the server, a bitmap for the eye.

const SMOOTH_FROM = 64; // pixels of side; below, the pixels themselves are shown

export const isSmooth = (bitmap) => bitmap.height >= SMOOTH_FROM;

export async function toPicture(image) {
  const bytes = Uint8Array.from(atob(image), (character) => character.charCodeAt(0));
  return { image, bitmap: await createImageBitmap(new Blob([bytes], { type: "image/png" })) };
}

export function paintPicture(canvas, { bitmap }) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.classList.toggle("pixels", !isSmooth(bitmap));
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
}
