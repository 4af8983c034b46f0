//! What the shop shows: a front page, a page a product, and the same products as JSON. All printed once, at start.

use std::collections::HashMap;
use std::fmt::Write;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// Something to buy.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Product {
    id: u32,
    name: &'static str,
    category: &'static str,
    price_cents: u32,
    in_stock: bool,
    rating: u8,
    text: &'static str,
}

/// The categories, in the order of the front page.
const CATEGORIES: [&str; 3] = ["Coffee & Tea", "Kitchen", "Reading <slowly>"];

#[rustfmt::skip]
const PRODUCTS: [Product; 8] = [
    Product { id: 1, name: "Kettle & Cup", category: "Coffee & Tea", price_cents: 4_900, in_stock: true, rating: 5, text: "Holds 0.9 l, pours where you look." },
    Product { id: 2, name: "Café grinder", category: "Coffee & Tea", price_cents: 8_950, in_stock: true, rating: 4, text: "Forty steps from \"dust\" to gravel." },
    Product { id: 3, name: "Darjeeling, 1st flush", category: "Coffee & Tea", price_cents: 1_290, in_stock: false, rating: 5, text: "Picked in March; gone by May." },
    Product { id: 4, name: "Salt & pepper mill", category: "Kitchen", price_cents: 3_450, in_stock: true, rating: 4, text: "One mill, two chambers, no arguments." },
    Product { id: 5, name: "Crème brûlée torch", category: "Kitchen", price_cents: 2_999, in_stock: true, rating: 3, text: "For sugar < 3 mm." },
    Product { id: 6, name: "Bread knife 9″", category: "Kitchen", price_cents: 5_600, in_stock: true, rating: 5, text: "Serrated, and proud of it." },
    Product { id: 7, name: "Reading lamp “Noon”", category: "Reading <slowly>", price_cents: 7_900, in_stock: true, rating: 4, text: "3000 K, dimmable, no app." },
    Product { id: 8, name: "Bookmarks, set of 12", category: "Reading <slowly>", price_cents: 650, in_stock: true, rating: 5, text: "Paper & patience." },
];

/// One answer of the shop.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// Its media type.
    pub(super) content_type: &'static str,
    /// Its bytes.
    pub(super) body: Bytes,
}

/// All pages by path.
#[derive(Debug)]
pub(super) struct Pages {
    pages: HashMap<String, Page>,
    missing: Page,
}

impl Pages {
    /// Prints every page.
    pub(super) fn print() -> Self {
        let html = |text: String| Page { content_type: HTML, body: text.into() };
        let json = |value: serde_json::Value| Page { content_type: JSON, body: value.to_string().into() };
        let mut pages = HashMap::new();
        pages.insert("/".to_owned(), html(front()));
        pages.insert("/products.json".to_owned(), json(json!({ "currency": "EUR", "products": PRODUCTS })));
        for product in PRODUCTS {
            pages.insert(format!("/products/{}", product.id), html(detail(product)));
            pages.insert(format!("/products/{}.json", product.id), json(json!(product)));
        }
        Self { pages, missing: html(frame("Not here", "<h1>Not here</h1>\n<p>The shop has no such page.</p>")) }
    }

    /// The page at a path, or the one that says that there is none.
    pub(super) fn find(&self, path: &str) -> (StatusCode, &Page) {
        self.pages.get(path).map_or((StatusCode::NOT_FOUND, &self.missing), |page| (StatusCode::OK, page))
    }
}

fn front() -> String {
    let mut body = String::from(
        "<header class=\"masthead\"><h1>The Corner Shop</h1><p class=\"claim\">Kettles, knives &amp; quiet evenings</p></header>\n\
         <section class=\"news\"><h1>New this week: tea &amp; toast</h1>\n\
         <p>Orders over &euro;50 travel free. <a href=\"/products.json\">All products as data</a>.</p></section>\n",
    );
    for category in CATEGORIES {
        let _ = writeln!(body, "<section class=\"category\">\n<h2>{}</h2>\n<ul class=\"products\">", escape(category));
        for product in PRODUCTS.iter().filter(|product| product.category == category) {
            body.push_str(&card(product));
        }
        body.push_str("</ul>\n</section>\n");
    }
    body.push_str(
        "<footer><h2>Opening hours</h2><p>Mon&ndash;Sat 9&ndash;18 h &middot; &copy; The Corner Shop</p></footer>",
    );
    frame("The Corner Shop", &body)
}

fn card(product: &Product) -> String {
    format!(
        "<li class=\"product{sold_out}\" data-id=\"{id}\"><a class=\"product-link\" href=\"/products/{id}\">\
         <h3 class=\"product-name\">{name}</h3></a> <span class=\"price\" data-cents=\"{cents}\">{price}</span></li>\n",
        sold_out = if product.in_stock { "" } else { " sold-out" },
        id = product.id,
        name = escape(product.name),
        cents = product.price_cents,
        price = price(product.price_cents),
    )
}

fn detail(product: Product) -> String {
    let name = escape(product.name);
    let body = format!(
        "<nav><a class=\"back\" href=\"/\">&larr; The Corner Shop</a></nav>\n\
         <article class=\"product\" data-id=\"{id}\">\n<h1 class=\"product-name\">{name}</h1>\n\
         <p class=\"price\" data-cents=\"{cents}\">{price}</p>\n<p class=\"stock\">{stock}</p>\n\
         <h2>Description</h2>\n<p class=\"description\">{text}</p>\n\
         <h2>Details</h2>\n<table class=\"details\"><tbody><tr><th>Category</th><td class=\"category\">{category}</td></tr>\
         <tr><th>Rating</th><td class=\"rating\">{rating} of 5</td></tr></tbody></table>\n\
         <form action=\"/cart\" method=\"post\"><input type=\"hidden\" name=\"id\" value=\"{id}\">\
         <input type=\"number\" name=\"amount\" value=\"1\"><button>Add to cart</button></form>\n</article>",
        id = product.id,
        cents = product.price_cents,
        price = price(product.price_cents),
        stock = if product.in_stock { "In stock" } else { "Sold out" },
        text = escape(product.text),
        category = escape(product.category),
        rating = product.rating,
    );
    frame(product.name, &body)
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{}</title></head>\n<body>\n{body}\n</body>\n</html>\n",
        escape(title)
    )
}

/// `&euro;49.00`, with the entity: scrapers have to decode it.
fn price(cents: u32) -> String {
    format!("&euro;{}.{:02}", cents / 100, cents % 100)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn text(path: &str) -> String {
        let pages = Pages::print();
        let (status, page) = pages.find(path);
        assert_eq!(status, StatusCode::OK);
        String::from_utf8(page.body.to_vec()).unwrap()
    }

    #[test]
    fn the_front_page_shows_every_product() {
        let front = text("/");
        assert_eq!(front.matches("<h1>").count(), 2);
        assert_eq!(front.matches("<h2>").count(), CATEGORIES.len() + 1);
        for product in PRODUCTS {
            assert!(front.contains(&format!("href=\"/products/{}\"", product.id)), "{}", product.name);
        }
        assert!(front.contains("Kettle &amp; Cup") && front.contains("&euro;49.00"));
    }

    #[test]
    fn every_product_has_a_page_and_its_data() {
        for product in PRODUCTS {
            assert!(text(&format!("/products/{}", product.id)).contains(&escape(product.name)));
            let data: serde_json::Value =
                serde_json::from_str(&text(&format!("/products/{}.json", product.id))).unwrap();
            assert_eq!(data["priceCents"], product.price_cents);
        }
        let all: serde_json::Value = serde_json::from_str(&text("/products.json")).unwrap();
        assert_eq!(all["products"].as_array().unwrap().len(), PRODUCTS.len());
    }

    #[test]
    fn an_unknown_path_is_not_found() {
        assert_eq!(Pages::print().find("/products/9").0, StatusCode::NOT_FOUND);
    }
}
