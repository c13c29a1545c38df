// The form sends the address as it is, because everything behind the question mark is the address.
document.getElementById("try").addEventListener("submit", (event) => {
  event.preventDefault();
  location.href = "/?" + event.target.elements.address.value.trim();
});
